#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace melflow::models {

/// How far a sample depends on its surroundings, in mel frames; what lies outside changes nothing.
struct Reach {
  int64_t history_frames, lookahead_frames;
  bool endless = false;  ///< in the waveform the past never ends: samples feed on those before
};

/// A tensor of a model's file.
struct TensorShape {
  std::vector<int64_t> sizes;
  bool trained = true;  ///< else computed once, and a parameter to nobody
  bool operator==(const TensorShape&) const = default;
};
using TensorShapes = std::map<std::string, TensorShape>;

/// Throws std::invalid_argument: sizes that no model can have.
inline void require(bool sensible, const std::string& otherwise) {
  if (!sensible) throw std::invalid_argument(otherwise);
}

}  // namespace melflow::models
