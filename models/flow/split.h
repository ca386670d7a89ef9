#pragma once

#include <memory>

#include "models/flow/bijection.h"

namespace melflow::models {

/// Early outputs (Real NVP, section 3.6): the first n channels leave as they are, the others go through the rest of
/// the flow. x: [batch, channels, …] → the same shape, the early channels first.
class Split : public Bijection {
 public:
  Split(int64_t early_channels, std::shared_ptr<Bijection> rest);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  int64_t early_;
  std::shared_ptr<Bijection> rest_;
};

}  // namespace melflow::models
