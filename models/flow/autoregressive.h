#pragma once

#include <memory>

#include "models/flow/bijection.h"
#include "models/nets/made.h"

namespace melflow::models {

/// Masked autoregressive flow, one layer (MAF, eq. 3-5): each dimension is moved by what a MADE makes of those before,
///   forward  z_i = transform(x_i; MADE(x_<i, context)),  log|det| = Σ of the transform's log-slopes.   One pass.
///   inverse  dimension after dimension.                                                              D steps.
/// Without gradients on a CPU the D steps together cost one pass, since every unit is computed once, as soon as the
/// dimensions it sees are known; with gradients, or elsewhere, they are D whole passes. x: [batch, dimensions].
class MaskedAutoregressive : public Bijection {
 public:
  /// `options.outputs` is the transform's to say.
  MaskedAutoregressive(Made::Options options, std::shared_ptr<const Transform> transform);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  /// The D whole passes: the oracle of the fast inverse.
  Mapped inverse_by_passes(const torch::Tensor& z, const torch::Tensor& context = {});

 private:
  std::shared_ptr<const Transform> transform_;
  std::shared_ptr<Made> net_;
};

}  // namespace melflow::models
