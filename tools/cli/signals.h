#pragma once

namespace melflow::tools {

/// From here on SIGINT, SIGTERM and SIGHUP only ask: the work finishes its step, and the process then exits by
/// exit_code(). A second SIGINT or SIGTERM ends the process at once.
void catch_signals();
bool stop_requested();
/// 130, 143 or 129 after a signal, else 0.
int signal_exit_code();

}  // namespace melflow::tools
