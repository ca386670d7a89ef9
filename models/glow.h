#pragma once

#include <memory>
#include <span>

#include "models/flow/coupling.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// Glow's 1x1 convolution: the plain matrix or its LU form.
enum class Convolution { plain, lu };
inline std::span<const char* const> enum_names(Convolution) {
  static constexpr const char* kNames[] = {"plain", "lu"};
  return kNames;
}

/// Glow (Kingma & Dhariwal 2018). Each of `levels`: 2x2 squeeze, `steps` of ActNorm, 1x1 convolution and affine
/// coupling with a convolutional conditioner; then half of the channels leave, after a zero-initialised coupling that
/// predicts them from those which stay (the learned prior); the last level ends in a learned diagonal.
/// Rows: the same steps without squeeze and split, with a fully connected conditioner.
struct GlowOptions {
  int64_t levels = 2;  ///< images only
  int64_t steps = 8;   ///< K, a level
  int64_t hidden = 64;
  Scale scale = Scale::tanh;
  Convolution convolution = Convolution::lu;
  int64_t bins = 0;  ///< of a spline (flow/spline.h) behind each step's shift and scale; 0: none, as published
  double bound = 3;  ///< its reach
};
std::shared_ptr<Bijection> make_glow(const FlowShape& shape, const GlowOptions& options);

/// The numbers in the matrices and kernels: what a model costs, known before it is built.
double weight_count(const FlowShape& shape, const GlowOptions& options);

template <typename Visit>
void fields(GlowOptions& o, Visit&& visit) {
  visit("levels", o.levels);
  visit("steps", o.steps);
  visit("hidden", o.hidden);
  visit("scale", o.scale);
  visit("convolution", o.convolution);
  visit("bins", o.bins);
  visit("bound", o.bound);
}

}  // namespace melflow::models
