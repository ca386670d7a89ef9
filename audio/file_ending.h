#pragma once

#include <algorithm>
#include <cctype>
#include <string_view>

namespace melflow {

/// Whether a file's name ends in `ending` (".wav", in small letters), which names of cameras and of Windows write in
/// capitals. The ending alone is no name.
inline bool has_ending(std::string_view name, std::string_view ending) {
  if (name.size() <= ending.size()) return false;
  return std::ranges::equal(name.substr(name.size() - ending.size()), ending,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

}  // namespace melflow
