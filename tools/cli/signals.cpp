#include "tools/cli/signals.h"

#include "tools/cli/terminal_keys.h"

#include <unistd.h>
#include <csignal>

namespace melflow::tools {
namespace {

volatile std::sig_atomic_t caught = 0;

void on_signal(int signal) {
  if (signal == SIGHUP && caught != 0) return;  // a terminal that is lost says so twice: by the shell and by the kernel
  if (caught != 0) {
    restore_terminal();
    _exit(128 + signal);
  }
  caught = signal;
}

}  // namespace

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);  // nohup ignores it, and so it stays
  if (hang_up.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);
}

bool stop_requested() { return caught != 0; }

int signal_exit_code() { return caught != 0 ? 128 + caught : 0; }

}  // namespace melflow::tools
