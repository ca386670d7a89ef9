#pragma once

#include <stdexcept>
#include <string>

namespace melflow {

/// What the process exits with (sysexits.h where it has a word for it). README lists them for users.
enum class Exit : int {
  ok = 0,
  some_failed = 1,     ///< some items of a batch failed, the rest are done
  usage = 64,          ///< the command line makes no sense
  bad_data = 65,       ///< a file is not what it claims to be
  no_input = 66,       ///< a file is missing or cannot be read
  unavailable = 69,    ///< a device is missing, or memory is short
  internal = 70,       ///< our own fault
  cannot_create = 73,  ///< an output exists already or its folder cannot be written
  io_error = 74,       ///< the disk or the pipe failed
  config = 78,         ///< a configuration names something unknown or impossible
};

/// A message with question marks for line breaks and what else a terminal obeys, which names of files may hold:
/// control characters of ASCII and of Unicode (UTF-8), and those that turn the direction of writing.
inline std::string one_line(const std::string& text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  std::string line;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto a = byte(i), b = byte(i + 1), c = byte(i + 2);
    const bool ascii = a < 0x20 || a == 0x7f;
    const bool c1 = a == 0xc2 && b >= 0x80 && b <= 0x9f;
    const bool marks = a == 0xe2 && b == 0x80 && ((c >= 0x8e && c <= 0x8f) || (c >= 0xa8 && c <= 0xae));
    const bool isolates = a == 0xe2 && b == 0x81 && c >= 0xa6 && c <= 0xa9;
    line += ascii || c1 || marks || isolates ? '?' : text[i];
    i += marks || isolates ? 2 : c1 ? 1 : 0;
  }
  return line;
}

/// The world failed: one line (one_line() sees to it) that names the file, what is wrong and what to do.
/// A broken contract inside the program is an assertion or TORCH_CHECK instead.
class Error : public std::runtime_error {
 public:
  Error(Exit code, const std::string& message) : std::runtime_error(one_line(message)), code_(code) {}
  Exit code() const { return code_; }

 private:
  Exit code_;
};

}  // namespace melflow
