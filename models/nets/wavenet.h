#pragma once

#include <memory>
#include <vector>

#include "models/flow/coupling.h"
#include "models/nets/weight_norm.h"

namespace melflow::models {

/// The conditioner of WaveGlow: a WaveNet without causality. Layer i (dilation 2^i mod the cycle):
///   u = in_i(h) + cond_i(context);  a = tanh(u_1)·sigmoid(u_2);  (r, s) = res_skip_i(a);  h += r;  skip += s
/// and out = end(skip). `end` starts at zero, so a coupling starts as the identity.
class WaveNet : public Conditioner {
 public:
  struct Options {
    int64_t in_channels, out_channels, context_channels;
    int64_t n_layers = 8, n_channels = 256, kernel_size = 3;
    int64_t dilation_cycle = 0;  ///< 0: dilations never start again, as published
  };
  explicit WaveNet(const Options& options);

  /// x: [batch, in, groups]; context: [batch, context, groups], or at a lower rate of which groups is a multiple
  /// (each frame is then repeated, after the 1x1 convolution: the same function for less work) → [batch, out, groups].
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) override;
  /// The formulas as they stand: what forward() is where no gradient is wanted, and the oracle of what it is otherwise.
  torch::Tensor plain_forward(const torch::Tensor& x, const torch::Tensor& context);

 private:
  /// Narrower nets have no large products to win, and stay by the formulas' own order of sums.
  static constexpr int64_t kRowsFrom = 64;
  /// For gradients, on a CPU in float32, or bfloat16 as autocast says: by rows (wavenet_rows.h), and since `end` is
  /// linear, each layer's skip goes through it at once: end(Σ skip) = Σ end·skip, a handful of numbers instead of
  /// `channels`.
  torch::Tensor rows_forward(const torch::Tensor& x, const torch::Tensor& context);

  Options options_;
  std::shared_ptr<WeightNormConv1d> start_, cond_;
  torch::nn::Conv1d end_{nullptr};
  std::vector<std::shared_ptr<WeightNormConv1d>> in_, res_skip_;
};

}  // namespace melflow::models
