#pragma once

#include <memory>

#include "models/flow/autoregressive.h"
#include "models/flow/between.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// Masked autoregressive flow (Papamakarios, Pavlakou & Murray 2017): layers of MaskedAutoregressive, each in the
/// reverse order of the one before. Density in one pass, samples dimension by dimension. Of rows.
struct MafOptions {
  int64_t layers = 5, hidden = 64, hidden_layers = 2;
  Scale scale = Scale::tanh;
  Norm norm = Norm::none;
  Mixing mixing = Mixing::none;
  double input_limit = 0;  ///< of what the networks hear: heard() in flow/coupling.h
};
std::shared_ptr<Bijection> make_maf(const FlowShape& shape, const MafOptions& options);

/// The numbers in the matrices: what a model costs, known before it is built.
double weight_count(const FlowShape& shape, const MafOptions& options);

template <typename Visit>
void fields(MafOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("hidden", o.hidden);
  visit("hidden_layers", o.hidden_layers);
  visit("scale", o.scale);
  visit("norm", o.norm);
  visit("mixing", o.mixing);
  visit("input_limit", o.input_limit);
}

}  // namespace melflow::models
