#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

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

/// A message with a question mark for each character that a terminal obeys, which names of files may hold: line breaks
/// and other control characters, marks and overrides of the direction of writing (UTF-8).
inline std::string one_line(const std::string& text) {
  static constexpr std::string_view kMarks[] = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202b",
                                                "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"};
  const auto obeyed = [](std::string_view rest) -> size_t {  // bytes of the character there, or 0
    const auto first = static_cast<unsigned char>(rest[0]);
    if (first < 0x20 || first == 0x7f) return 1;
    const auto second = static_cast<unsigned char>(rest.size() > 1 ? rest[1] : '\0');
    if (first == 0xc2 && second >= 0x80 && second < 0xa0) return 2;  // C1
    for (const auto mark : kMarks) {
      if (rest.starts_with(mark)) return mark.size();
    }
    return 0;
  };
  std::string line;
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = obeyed(std::string_view(text).substr(i));
    line += bytes > 0 ? '?' : text[i];
    i += bytes > 0 ? bytes : 1;
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
