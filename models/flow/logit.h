#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// Pixels to the whole line (Real NVP, section 4.1): for x in [0, levels],
///   p = α + (1 - 2α) x/levels;  z = ln p - ln(1 - p);  log|det| = Σ ln((1 - 2α)/levels) - ln p - ln(1 - p).
/// Whole-number pixels get uniform noise in [0, 1) before; the negative log-density of the sum is then an upper bound
/// of the pixels' own, in nats, without a further term. x: [batch, …].
class Logit : public Bijection {
 public:
  Logit(double levels, double alpha);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  torch::Tensor log_det(const torch::Tensor& z) const;

  double levels_, alpha_;
};

}  // namespace melflow::models
