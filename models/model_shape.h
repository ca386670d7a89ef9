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

/// Of layer `layer` of a WaveNet: doubled at each, beginning again after `cycle` layers (0: never).
inline int64_t wavenet_dilation(int64_t layer, int64_t cycle) {
  return int64_t{1} << (cycle > 0 ? layer % cycle : layer);
}
/// To how many groups on each side a WaveNet's layers see.
inline int64_t wavenet_side(int64_t layers, int64_t kernel, int64_t cycle) {
  int64_t groups = 0;
  for (int64_t i = 0; i < layers; ++i) groups += wavenet_dilation(i, cycle) * (kernel - 1) / 2;
  return groups;
}

/// Throws std::invalid_argument: sizes that no model can have.
inline void require(bool sensible, const std::string& otherwise) {
  if (!sensible) throw std::invalid_argument(otherwise);
}

}  // namespace melflow::models
