#pragma once

#include "models/flow/bijection.h"
#include "models/flow/cached.h"

namespace melflow::models {

/// Invertible 1x1 convolution (Glow, section 3.2): y = W x at every position, log|det| = positions · ln|det W|.
/// x: [batch, channels, positions…], a row being one position. W starts as a random rotation, so the map starts with
/// log-determinant 0.
class Conv1x1 : public Bijection {
 public:
  explicit Conv1x1(int64_t channels);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

  torch::Tensor weight;  ///< [channels, channels]
  static double weight_count(int64_t channels) { return static_cast<double>(channels) * static_cast<double>(channels); }
};

/// The same with W = P L (U + diag(s)) (Glow, eq. 10-11): ln|det W| = Σ ln|s| costs nothing, and W cannot become
/// singular, since P and the signs of s stay as they were drawn. L has ones on its diagonal, U zeros.
class Conv1x1Lu : public Bijection {
 public:
  explicit Conv1x1Lu(int64_t channels);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;
  std::string wrong_buffers() const override;
  torch::Tensor weight() const;  ///< [channels, channels]
  /// Numbers in the three matrices of a file.
  static double weight_count(int64_t channels) {
    return 3.0 * static_cast<double>(channels) * static_cast<double>(channels);
  }

 private:
  torch::Tensor lower_, upper_, log_s_, permutation_, sign_;
  Cached weight_, inverse_;
};

}  // namespace melflow::models
