#pragma once

#include "models/flow/bijection.h"

namespace melflow::models {

/// ActNorm (Glow, section 3.1): z = x · exp(log_s) + b for each channel; log|det| = positions · Σ log_s.
/// The first batch of a training sets s and b so that every channel leaves with mean 0 and variance 1; `initialized`
/// is a buffer, so a loaded model is never set again. A channel that does not vary keeps scale 1.
/// x: [batch, channels, …]. Also the learned diagonal of a base distribution.
class ActNorm : public Bijection {
 public:
  enum class Start { from_data, identity };
  explicit ActNorm(int64_t channels, Start start = Start::from_data);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  void initialise(const torch::Tensor& x);

  torch::Tensor log_s_, b_, initialized_;
  bool known_initialized_ = false;  // spares the look into the buffer once it was seen set
};

/// z = (x - mean) / std with numbers that come from the data once and are not trained; log|det| = -Σ ln std.
/// x: [batch, channels, …].
class Standardise : public Bijection {
 public:
  explicit Standardise(int64_t channels);
  /// Takes mean and standard deviation of each column of x [items, channels]; a constant column gets deviation 1.
  void fit(const torch::Tensor& x);
  double log_scale() const { return log_std_.sum().item<double>(); }  ///< Σ ln std
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  torch::Tensor mean_, log_std_;
};

}  // namespace melflow::models
