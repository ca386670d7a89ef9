#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/files/safetensors.h"

namespace melflow::files {

/// One entry of the header, as written; offsets are not yet compared with anything.
struct TensorEntry {
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  ///< bytes, from the end of the header
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::map<std::string, TensorEntry> tensors;
};

/// Reads the JSON of a header, event by event: what is not of the one permitted form ends it at once, so neither
/// nesting nor a repeated key costs anything. Throws Error{bad_data}.
SafetensorsHeader parse_safetensors_header(std::string_view json, const std::string& name);

}  // namespace melflow::files
