#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// Exchanges channels, the same way for every item; moves no volume. x: [batch, channels, …].
class Permutation : public Bijection {
 public:
  /// A random order, drawn once; it is a buffer, so it goes into the file with the weights.
  explicit Permutation(int64_t channels);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  std::string wrong_buffers() const override;

 private:
  // [channels] whole numbers, z[i] = x[order[i]]; as floats, since Module::to(type) changes buffers of every type.
  torch::Tensor order_;
};

}  // namespace melflow::models
