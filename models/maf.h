#pragma once

#include <memory>
#include <span>

#include "models/flow/autoregressive.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// What lies between two layers of a flow on rows.
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
/// Appends what options ask for between two layers of width `channels`.
void append_between(std::vector<std::shared_ptr<Bijection>>& parts, int64_t channels, Mixing mixing, Norm norm);

/// Masked autoregressive flow (Papamakarios, Pavlakou & Murray 2017): layers of MaskedAutoregressive, each in the
/// reverse order of the one before. Density in one pass, samples dimension by dimension. Images are taken as rows.
struct MafOptions {
  int64_t layers = 5, hidden = 64, hidden_layers = 2;
  Scale scale = Scale::tanh;
  Norm norm = Norm::none;
  Mixing mixing = Mixing::none;
};
std::shared_ptr<Bijection> make_maf(const FlowShape& shape, const MafOptions& options);

/// The numbers in the largest layers: what a model costs, known before it is built.
inline double weight_count(const FlowShape& shape, const MafOptions& o) {
  const double d = static_cast<double>(shape.channels), h = static_cast<double>(o.hidden);
  return static_cast<double>(o.layers) * h * (3 * d + h * (static_cast<double>(o.hidden_layers) - 1));
}

template <typename Visit>
void fields(MafOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("hidden", o.hidden);
  visit("hidden_layers", o.hidden_layers);
  visit("scale", o.scale);
  visit("norm", o.norm);
  visit("mixing", o.mixing);
}

}  // namespace melflow::models
