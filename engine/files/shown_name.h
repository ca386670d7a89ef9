#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace melflow::files {

/// A name that a file brought along, fit for a message: in quotes, at most 60 characters, and nothing in it that
/// a terminal would obey.
inline std::string shown_name(std::string_view name) {
  constexpr size_t kMaxShown = 60;
  std::string shown = "'";  // += for GCC 12, which takes "'" + … for memory that overlaps
  shown += one_line(std::string(name.substr(0, kMaxShown)));
  return shown + (name.size() > kMaxShown ? "…'" : "'");
}

/// A tensor's sizes for a message: "[80, 512]".
inline std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t axis = 0; axis < shape.size(); ++axis) text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

}  // namespace melflow::files
