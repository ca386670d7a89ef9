#pragma once

#include "models/flow/coupling.h"

namespace melflow::models {

/// Glow's convolutional conditioner (Glow, section 3.3): 3x3, ReLU, 1x1, ReLU, 3x3 zero-initialised and multiplied by
/// exp(3 g) for each output channel, g learned. A context enters the first hidden layer as a value for each channel.
/// x: [batch, in, height, width] → [batch, out, height, width].
class ConvNet : public Conditioner {
 public:
  struct Options {
    int64_t in, out, hidden = 64, context = 0;

    /// Numbers in all kernels.
    double weight_count() const {
      const auto n = [](int64_t size) { return static_cast<double>(size); };
      return n(hidden) * (9 * n(in) + n(hidden) + 9 * n(out) + n(context));
    }
  };
  explicit ConvNet(const Options& options);
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) override;

 private:
  torch::nn::Conv2d first_{nullptr}, middle_{nullptr}, last_{nullptr};
  torch::nn::Linear context_{nullptr};
  torch::Tensor log_gain_;
};

}  // namespace melflow::models
