#include "tools/terminal_keys.h"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace melflow::tools {
namespace {

// What the signal handlers need; they are installed after both modes are known.
termios usual_mode, key_mode;
volatile std::sig_atomic_t changed = 0;

bool in_foreground() { return ::tcgetpgrp(STDIN_FILENO) == ::getpgrp(); }

void set_key_mode() {
  // In the background, setting the mode would stop us (SIGTTOU).
  if (!in_foreground()) return;
  if (::tcsetattr(STDIN_FILENO, TCSANOW, &key_mode) == 0) changed = 1;
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal, &action, nullptr);
}

/// Hang-up, Ctrl-\ and Ctrl-Z do what they always do, with the terminal as it was.
void leave(int signal) {
  restore_terminal();
  install(signal, SIG_DFL);
  ::raise(signal);
}

/// fg after Ctrl-Z.
void come_back(int /*signal*/) {
  install(SIGTSTP, leave);
  set_key_mode();
}

std::optional<Key> key_of(const char* bytes, ssize_t count) {
  if (count == 1 && bytes[0] == ' ') return Key::space;
  if (count == 1 && bytes[0] == 'q') return Key::quit;
  if (count == 3 && (std::memcmp(bytes, "\033[D", 3) == 0 || std::memcmp(bytes, "\033OD", 3) == 0)) return Key::left;
  if (count == 3 && (std::memcmp(bytes, "\033[C", 3) == 0 || std::memcmp(bytes, "\033OC", 3) == 0)) return Key::right;
  return std::nullopt;
}

}  // namespace

void restore_terminal() {
  if (changed == 0) return;
  changed = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &usual_mode);
}

TerminalKeys::TerminalKeys() {
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1 || !in_foreground()) return;
  if (::tcgetattr(STDIN_FILENO, &usual_mode) != 0) return;
  key_mode = usual_mode;
  key_mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C goes on being a signal
  key_mode.c_cc[VMIN] = 0;
  key_mode.c_cc[VTIME] = 0;
  for (const int signal : {SIGHUP, SIGQUIT, SIGTSTP}) install(signal, leave);
  install(SIGCONT, come_back);
  set_key_mode();
  active_ = true;
}

TerminalKeys::~TerminalKeys() {
  if (!active_) return;
  restore_terminal();
  for (const int signal : {SIGHUP, SIGQUIT, SIGTSTP, SIGCONT}) install(signal, SIG_DFL);
}

std::optional<Key> TerminalKeys::wait(std::chrono::milliseconds time) {
  pollfd terminal{STDIN_FILENO, POLLIN, 0};
  if (::poll(&terminal, active_ ? 1 : 0, static_cast<int>(time.count())) <= 0 || !active_) return std::nullopt;
  if ((terminal.revents & POLLIN) == 0) {
    active_ = false;  // the terminal is gone
    return std::nullopt;
  }
  char bytes[8];
  const ssize_t count = ::read(STDIN_FILENO, bytes, sizeof bytes);
  return key_of(bytes, count);
}

}  // namespace melflow::tools
