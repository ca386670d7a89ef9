#pragma once

#include <algorithm>
#include <cctype>
#include <string_view>

namespace melflow {

/// Whether a file's name ends in `ending` (".wav", in small letters), whatever the case: cameras and Windows write
/// .WAV. The ending alone (".wav", "folder/.wav") is a hidden file without one.
inline bool has_ending(std::string_view name, std::string_view ending) {
  if (name.size() <= ending.size() || name[name.size() - ending.size() - 1] == '/') return false;
  return std::ranges::equal(name.substr(name.size() - ending.size()), ending,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

}  // namespace melflow
