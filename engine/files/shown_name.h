#pragma once

#include <string>
#include <string_view>

namespace melflow::files {

/// A name that a file brought along, fit for a message: in quotes, at most 60 characters, and nothing in it that
/// a terminal would obey.
inline std::string shown_name(std::string_view name) {
  constexpr size_t kMaxShown = 60;
  std::string shown = "'";
  for (const char c : name.substr(0, kMaxShown)) {
    shown += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  }
  return shown + (name.size() > kMaxShown ? "…'" : "'");
}

}  // namespace melflow::files
