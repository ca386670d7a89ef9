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

/// Bytes of the UTF-8 character that `text` begins with; 0 where it begins with none.
inline size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : '\0'); };
  const auto first = byte(0), second = byte(1);
  if (first < 0x80) return text.empty() ? 0 : 1;
  const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Longer than need be, half a pair of UTF-16, or beyond Unicode's end.
  const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ||
                     (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90);
  return wrong ? 0 : length;
}

/// A message with a question mark for each character that a terminal obeys, which names of files may hold: line breaks
/// and other control characters, marks and overrides of the direction of writing, and bytes that are no UTF-8.
inline std::string one_line(const std::string& text) {
  static constexpr std::string_view kMarks[] = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202b",
                                                "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"};
  std::string line;
  for (std::string_view rest = text; !rest.empty();) {
    const auto first = static_cast<unsigned char>(rest[0]);
    const auto length = utf8_length(rest);
    const auto character = rest.substr(0, length == 0 ? 1 : length);
    const bool control = first < 0x20 || first == 0x7f || (length == 2 && first == 0xc2 && character[1] < '\xa0');
    bool obeyed = length == 0 || control;
    for (const auto mark : kMarks) obeyed = obeyed || character == mark;
    if (obeyed) {
      line += '?';
    } else {
      line += character;
    }
    rest.remove_prefix(character.size());
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
