#pragma once

#include <memory>

#include "models/flow/between.h"
#include "models/flow/coupling.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// Real NVP (Dinh, Sohl-Dickstein & Bengio 2017). Rows: affine couplings whose halves take turns. Images, at each of
/// `levels` scales: three checkerboard couplings, 2x2 squeeze, three channel couplings, half the channels leave; four
/// checkerboard couplings at the last scale (section 3.6). Batch normalisation between couplings where `norm` says so.
struct RealNvpOptions {
  int64_t layers = 8;  ///< rows only
  int64_t levels = 2;  ///< images only
  int64_t hidden = 64, hidden_layers = 2;
  Scale scale = Scale::tanh;
  Norm norm = Norm::none;
  Mixing mixing = Mixing::none;  ///< rows only
  double input_limit = 0;        ///< rows only, of what the networks hear: heard() in flow/coupling.h
};
std::shared_ptr<Bijection> make_real_nvp(const FlowShape& shape, const RealNvpOptions& options);

/// The numbers in the matrices and kernels: what a model costs, known before it is built.
double weight_count(const FlowShape& shape, const RealNvpOptions& options);

template <typename Visit>
void fields(RealNvpOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("levels", o.levels);
  visit("hidden", o.hidden);
  visit("hidden_layers", o.hidden_layers);
  visit("scale", o.scale);
  visit("norm", o.norm);
  visit("mixing", o.mixing);
  visit("input_limit", o.input_limit);
}

}  // namespace melflow::models
