#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// More than the sides of any image can be halved.
inline constexpr int64_t kMostSqueezes = 20;

/// Folds time into channels: [batch, time] → [batch, group, time/group], channel j holding samples j, j+group, ….
/// time must be a multiple of group.
class Squeeze : public Bijection {
 public:
  explicit Squeeze(int64_t group);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  int64_t group_;
};

/// Folds 2x2 pixels into channels (Real NVP, section 3.6): [batch, c, height, width] → [batch, 4c, height/2, width/2].
/// Height and width must be even.
class Squeeze2d : public Bijection {
 public:
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
};

}  // namespace melflow::models
