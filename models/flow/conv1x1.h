#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// Invertible 1x1 convolution (Glow, section 3.2): y = W x at every position, log|det| = positions · ln|det W|.
/// x: [batch, channels, positions…]. W starts as a random rotation, so the map starts with log-determinant 0.
class Conv1x1 : public Bijection {
 public:
  explicit Conv1x1(int64_t channels);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

  torch::Tensor weight;  ///< [channels, channels]

 private:
  Mapped apply(const torch::Tensor& matrix, const torch::Tensor& log_abs_det, const torch::Tensor& x) const;
};

}  // namespace melflow::models
