#include "tools/cli/terminal_keys.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace melflow::tools {
namespace {

termios usual_mode, key_mode;
std::atomic<bool> wanted{false}, changed{false};  // the key mode, by TerminalKeys; the terminal's, by us

bool in_foreground() { return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp(); }

/// Takes the first key off what was typed, which may be several keys at once; what is no key of ours is passed over,
/// and the start of a sequence is left for its end to come.
std::optional<Key> take_key(std::string& typed) {
  while (!typed.empty()) {
    if (typed[0] == '\033' && (typed.size() == 1 || typed[1] == '[' || typed[1] == 'O')) {
      if (typed.size() < 3) return std::nullopt;
      const char last = typed[2];
      typed.erase(0, 3);
      if (last == 'D') return Key::left;
      if (last == 'C') return Key::right;
      continue;
    }
    const char key = typed[0];
    typed.erase(0, 1);
    if (key == ' ') return Key::space;
    if (key == 'q') return Key::quit;
  }
  return std::nullopt;
}

}  // namespace

void restore_terminal() {
  if (changed.exchange(false)) ::tcsetattr(STDIN_FILENO, TCSANOW, &usual_mode);
}

void resume_terminal() {
  // In the background, setting the mode would stop us (SIGTTOU).
  if (!wanted || !in_foreground()) return;
  if (::tcsetattr(STDIN_FILENO, TCSANOW, &key_mode) == 0) changed = true;
}

TerminalKeys::TerminalKeys() {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1 || !in_foreground()) return;
  if (::tcgetattr(STDIN_FILENO, &usual_mode) != 0) return;
  key_mode = usual_mode;
  key_mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C goes on being a signal
  key_mode.c_cc[VMIN] = 0;
  key_mode.c_cc[VTIME] = 0;
  wanted = active_ = true;
  resume_terminal();
}

TerminalKeys::~TerminalKeys() {
  if (!active_) return;
  wanted = false;
  restore_terminal();
}

std::optional<Key> TerminalKeys::wait(std::chrono::milliseconds time) {
  if (const auto key = take_key(typed_)) return key;
  // In the background the keys are the shell's, and reading them would stop us (SIGTTIN).
  const bool listening = active_ && !gone_ && in_foreground();
  pollfd terminal{STDIN_FILENO, POLLIN, 0};
  if (::poll(&terminal, listening ? 1 : 0, static_cast<int>(time.count())) <= 0 || !listening) return std::nullopt;
  char bytes[64];
  const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (count <= 0) {
    gone_ = count == 0 || errno != EINTR;  // a terminal that hung up would be ready for ever
    return std::nullopt;
  }
  typed_.append(bytes, static_cast<size_t>(count));
  return take_key(typed_);
}

}  // namespace melflow::tools
