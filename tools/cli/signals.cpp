#include "tools/cli/signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <thread>

#include "base/atomic_file.h"
#include "tools/cli/terminal_keys.h"

namespace melflow::tools {
namespace {

std::atomic<int> caught{0};
std::atomic<bool> catching{false};
std::atomic<const char*> first_word{nullptr};

sigset_t set_of(std::initializer_list<int> signals) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : signals) ::sigaddset(&set, signal);
  return set;
}

/// What the signal always does, to the whole process, with the terminal as it was. Returns where it only stopped it.
void act_by_default(int signal) {
  restore_terminal();
  if (signal != SIGTSTP) AtomicFile::abandon_all();
  std::signal(signal, SIG_DFL);
  ::raise(signal);
  const auto one = set_of({signal});
  ::pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  ::pthread_sigmask(SIG_BLOCK, &one, nullptr);
  if (signal != SIGTSTP) ::_exit(128 + signal);  // who is process 1 of a container has no default
}

void ask_to_stop(int signal) {
  if (caught == 0) {
    caught = signal;
    if (const char* word = first_word) std::fprintf(stderr, "%s%s\n", ::isatty(STDERR_FILENO) == 1 ? "\n" : "", word);
    return;
  }
  if (signal == SIGHUP) return;  // a terminal that is lost says so twice: by the shell and by the kernel
  restore_terminal();
  AtomicFile::abandon_all();
  ::_exit(128 + signal);
}

[[noreturn]] void watch(const sigset_t& watched) {
  for (;;) {
    int signal = 0;
    if (::sigwait(&watched, &signal) != 0) continue;
    const bool asks = signal == SIGINT || signal == SIGTERM || signal == SIGHUP;
    if (signal == SIGCONT) {
      resume_terminal();
    } else if (asks && catching) {
      ask_to_stop(signal);
    } else {
      act_by_default(signal);
    }
  }
}

}  // namespace

void watch_signals() {
  const auto watched = set_of({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT});
  ::pthread_sigmask(SIG_BLOCK, &watched, nullptr);
  std::thread([watched] { watch(watched); }).detach();
}

void catch_signals(const char* word) {
  first_word = word;
  catching = true;
  // A shell's background job is told to ignore Ctrl-C; nohup's SIGHUP stays ignored.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

void release_signals() { catching = false; }

bool stop_requested() { return caught != 0; }

int signal_exit_code() { return caught != 0 ? 128 + caught : 0; }

}  // namespace melflow::tools
