#pragma once

#include <memory>

#include "models/maf.h"

namespace melflow::models {

/// Inverse autoregressive flow (Kingma et al. 2016): MAF's layers with the directions exchanged. Samples, and their own
/// density, in one pass: the flow for training by reverse KL; the density of given data dimension by dimension.
/// Affine in the noise as MAF's inverse is, x_i = (u_i - μ_i(u_<i)) · exp(-α_i), then the noise's learned diagonal.
struct IafOptions {
  int64_t layers = 4, hidden = 64, hidden_layers = 2;
  Scale scale = Scale::tanh;
  double input_limit = 0;  ///< of what the networks hear: heard() in flow/coupling.h
};
std::shared_ptr<Bijection> make_iaf(const FlowShape& shape, const IafOptions& options);

/// The numbers in the matrices: what a model costs, known before it is built.
inline double weight_count(const FlowShape& shape, const IafOptions& o) {
  return weight_count(shape, MafOptions{.layers = o.layers, .hidden = o.hidden, .hidden_layers = o.hidden_layers});
}

template <typename Visit>
void fields(IafOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("hidden", o.hidden);
  visit("hidden_layers", o.hidden_layers);
  visit("scale", o.scale);
  visit("input_limit", o.input_limit);
}

}  // namespace melflow::models
