#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace melflow::tools {

enum class Key { space, left, right, quit };

/// Single keys from the terminal that stdin and stderr are; none where either is something else or the program runs in
/// the background. The terminal's mode is put back on every way out: destruction, a second Ctrl-C, a hang-up, Ctrl-\,
/// Ctrl-Z (and set again by fg). One at a time.
class TerminalKeys {
 public:
  TerminalKeys();
  ~TerminalKeys();
  TerminalKeys(const TerminalKeys&) = delete;
  TerminalKeys& operator=(const TerminalKeys&) = delete;

  /// Waits for at most `time`.
  std::optional<Key> wait(std::chrono::milliseconds time);

 private:
  bool active_ = false, gone_ = false;
  std::string typed_;  // and not yet taken
};

/// Puts the terminal's mode back, where TerminalKeys changed it: before the process stops or ends.
void restore_terminal();
/// Sets the mode of keys again, where a TerminalKeys wants it: after Ctrl-Z and fg.
void resume_terminal();

}  // namespace melflow::tools
