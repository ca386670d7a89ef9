#pragma once

#include <memory>

#include "models/flow/bijection.h"

namespace melflow::models {

/// A network inside a bijection: it need not be invertible itself.
class Conditioner : public torch::nn::Module {
 public:
  /// x: [batch, in, …], context as the bijection got it → [batch, out, …].
  virtual torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) = 0;
};

/// Affine coupling (Real NVP, eq. 7-8): the first half of the channels stays and steers the second,
///   (shift, log s) = net(x_a, context);  z_a = x_a;  z_b = x_b · exp(log s) + shift;  log|det| = Σ log s.
/// x: [batch, channels, …]; net maps channels/2 to 2·(channels - channels/2), shift first.
class AffineCoupling : public Bijection {
 public:
  AffineCoupling(int64_t channels, std::shared_ptr<Conditioner> net);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  int64_t kept_, moved_;
  std::shared_ptr<Conditioner> net_;
};

}  // namespace melflow::models
