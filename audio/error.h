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

/// A message with question marks for line breaks and what else a terminal obeys, which names of files may hold.
inline std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
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
