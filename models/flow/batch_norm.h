#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// Batch normalisation as a bijection (Real NVP, section 3.7 and appendix E; MAF, section 3.4), for each channel:
///   z = (x - m) / sqrt(v + ε) · exp(log_gamma) + beta;  log|det| = positions · Σ (log_gamma - ½ ln(v + ε)).
/// m, v: the batch's in training (which also move the running ones), the running ones elsewhere, which start as 0
/// and 1. inverse always takes the running ones.
/// x: [batch, channels, …].
class BatchNorm : public Bijection {
 public:
  explicit BatchNorm(int64_t channels, double momentum = 0.1);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  std::string wrong_buffers() const override;

 private:
  double momentum_;
  torch::Tensor log_gamma_, beta_, mean_, variance_;
};

}  // namespace melflow::models
