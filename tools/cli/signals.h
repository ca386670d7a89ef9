#pragma once

namespace melflow::tools {

// Signals are taken by a thread of their own and blocked in every other. A handler would do little, but its frame is
// written where the interrupted thread's stack pointer stands, and oneDNN's matrix kernels point that into the heap
// (until its pull request 4855): a Ctrl-C in a training overwrote what lay there.

/// First of all in main(), before any other thread is there. Until catch_signals() signals do what they always do, with
/// the terminal as it was (terminal_keys.h). Throws std::system_error where the system gives no thread.
void watch_signals();

/// From here on SIGINT, SIGTERM and SIGHUP only ask: the work finishes its step, and the process then exits by
/// signal_exit_code(). A second SIGINT or SIGTERM ends the process at once. `word`, a literal, is said on stderr at the
/// first, where a step may take long.
void catch_signals(const char* word = nullptr);
/// From here on they do what they always do again, but for what was asked already.
void release_signals();
/// The word of trainings.
inline constexpr const char* kAfterThisStep = "stopping when this step is done and saved; once more: at once, without";
bool stop_requested();
/// 130, 143 or 129 after a signal, else 0.
int signal_exit_code();

}  // namespace melflow::tools
