#pragma once

#include <memory>

#include "models/flow/between.h"
#include "models/flow/flow.h"
#include "models/flow/spline.h"

namespace melflow::models {

/// Neural spline flow (Durkan, Bekasov, Murray & Papamakarios 2019): Real NVP's or MAF's layers with monotone splines
/// in the place of scales and shifts. By couplings (RQ-NSF (C)) both directions take one pass; `autoregressive` (RQ-NSF
/// (AR)) the density does, samples come dimension by dimension. Of rows.
struct NsfOptions {
  int64_t layers = 5, hidden = 64, hidden_layers = 2;
  int64_t bins = 8;
  double bound = 4;  ///< splines reach from -bound to bound; the identity lies beyond
  bool affine =
      true;  ///< a shift and a scale before each spline, of which bound is then the unit's; false: as published
  bool autoregressive = false;
  Norm norm = Norm::none;
  Mixing mixing = Mixing::none;
  double input_limit = 0;  ///< of what the networks hear: heard() in flow/coupling.h
};
std::shared_ptr<Bijection> make_nsf(const FlowShape& shape, const NsfOptions& options);

/// The numbers in the matrices: what a model costs, known before it is built.
double weight_count(const FlowShape& shape, const NsfOptions& options);

template <typename Visit>
void fields(NsfOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("hidden", o.hidden);
  visit("hidden_layers", o.hidden_layers);
  visit("bins", o.bins);
  visit("bound", o.bound);
  visit("affine", o.affine);
  visit("autoregressive", o.autoregressive);
  visit("norm", o.norm);
  visit("mixing", o.mixing);
  visit("input_limit", o.input_limit);
}

}  // namespace melflow::models
