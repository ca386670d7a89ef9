#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/verbs/verbs.h"

namespace melflow::tools {

/// A verb that is a family of verbs: `melflow NAME VERB …`.
struct SubVerbs {
  const char* name;
  std::span<const Verb> verbs;
  std::string about;      ///< its help, before the list of verbs
  std::string more = "";  ///< and behind it
};

/// Runs one verb of `program`; its help, and one line for a command line that makes no sense.
int run_verb(const Verb& verb, const std::string& program, std::vector<std::string> arguments);

/// Runs the verb that the first argument names. Without one, or with one that is none, says what there is; exit
/// code 64.
int run_sub_verbs(const SubVerbs& family, std::vector<std::string> arguments);

}  // namespace melflow::tools
