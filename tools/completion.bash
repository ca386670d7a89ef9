# Completes melflow's verbs, options, values and voices in bash, by what its own --help says, so that it knows of every
# verb there is. Installed to share/bash-completion/completions/melflow; from a clone: source tools/completion.bash
declare -gA _melflow_told

_melflow_help() { # its help for these verbs, asked once a shell
  local key="melflow $*"
  [[ -n ${_melflow_told[$key]-} ]] || _melflow_told[$key]=$(melflow "$@" --help </dev/null 2>/dev/null)
  REPLY=${_melflow_told[$key]}
}

_melflow_verbs() { # that its help lists, of these verbs
  _melflow_help "$@"
  inner=$(sed -n '/^verbs:/,/^$/s/^  \([a-z]*\)  .*/\1/p' <<<"$REPLY")
}

_melflow() {
  COMPREPLY=()
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} verbs=() given REPLY inner wanted=
  # The verb, and the verb of the verb where it has any.
  for given in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    _melflow_verbs "${verbs[@]}"
    [[ $given == -* || -z $inner ]] && break
    [[ $given == help ]] || verbs+=("$given")
  done
  _melflow_verbs "${verbs[@]}"
  if [[ -n $inner ]]; then
    ((${#verbs[@]})) || inner+=' help'
    wanted=$inner
  elif [[ $word == -* ]]; then
    wanted=$(grep -oE '^ +(-[a-z],)?--[a-z-]+|^ +-[a-z] ' <<<"$REPLY" | tr ', ' '\n')
  elif [[ $before == -* ]]; then
    case $before in
      --voice | --init | --mix) wanted=$(melflow voices 2>/dev/null | sed 's/ .*//') ;;
      *) # "{npy,safetensors,png}"
        wanted=$(sed -nE "s/^ +(-[a-z],)?$before TEXT:\{([^}]*)\}.*/\2/p" <<<"$REPLY" | tr ',' ' ') ;;
    esac
  fi
  [[ -n $wanted ]] && mapfile -t COMPREPLY < <(compgen -W "$wanted" -- "$word")
  # What is no word of ours is the name of a file.
  ((${#COMPREPLY[@]})) || compopt -o default 2>/dev/null
  return 0
}
complete -F _melflow melflow
