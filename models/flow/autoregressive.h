#pragma once

#include <memory>

#include "models/flow/bijection.h"
#include "models/nets/made.h"

namespace melflow::models {

/// Masked autoregressive flow, one layer (MAF, eq. 3-5): with (μ, r) = MADE(x, context), dimension by dimension,
///   forward  u_i = (x_i - μ_i(x_<i)) · exp(-α_i),  α = log_scale(r);  log|det| = -Σ α.   One pass.
///   inverse  x_i = u_i · exp(α_i) + μ_i(x_<i).                                           D steps.
/// Without gradients on a CPU the D steps together cost one pass, since every unit is computed once, as soon as the
/// dimensions it sees are known; with gradients, or elsewhere, they are D whole passes. x: [batch, dimensions].
class MaskedAutoregressive : public Bijection {
 public:
  MaskedAutoregressive(const Made::Options& options, Scale scale);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  /// The D whole passes: the oracle of the fast inverse.
  Mapped inverse_by_passes(const torch::Tensor& z, const torch::Tensor& context = {});

 private:
  Scale scale_;
  std::shared_ptr<Made> net_;
};

}  // namespace melflow::models
