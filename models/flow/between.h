#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/flow/bijection.h"

namespace melflow::models {

/// How numbers are brought to scale between two layers of a flow.
enum class Norm { none, act_norm, batch_norm };
inline std::span<const char* const> enum_names(Norm) {
  static constexpr const char* kNames[] = {"none", "act_norm", "batch_norm"};
  return kNames;
}
/// How a flow on rows mixes its dimensions between layers.
enum class Mixing {
  none,      ///< orders and halves alternate, which is enough for few dimensions
  permuted,  ///< a random permutation
  linear,    ///< a learned matrix in LU form (Glow's 1x1 convolution)
};
inline std::span<const char* const> enum_names(Mixing) {
  static constexpr const char* kNames[] = {"none", "permuted", "linear"};
  return kNames;
}
/// Appends what the options ask for between two layers of width `channels`.
void append_between(std::vector<std::shared_ptr<Bijection>>& parts, int64_t channels, Mixing mixing, Norm norm);
/// The numbers in the matrices of one such step.
double between_weight_count(int64_t channels, Mixing mixing);

}  // namespace melflow::models
