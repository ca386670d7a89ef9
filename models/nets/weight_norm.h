#pragma once

#include <torch/torch.h>

namespace melflow::models {

/// A 1-D convolution whose weight is g·v/‖v‖ for each output row (Salimans & Kingma 2016), as published WaveGlows store
/// it. Parameters weight_g [out, 1, 1], weight_v [out, in, kernel], bias [out]. The norm starts as torch's default
/// initialisation leaves it, so the function is that of a plain convolution.
class WeightNormConv1d : public torch::nn::Module {
 public:
  struct Options {
    int64_t in_channels, out_channels, kernel_size = 1, dilation = 1, padding = 0;
  };
  explicit WeightNormConv1d(const Options& options);

  /// x: [batch, in, time] → [batch, out, time'].
  torch::Tensor forward(const torch::Tensor& x);
  torch::Tensor weight() const;  ///< g·v/‖v‖, [out, in, kernel]

  torch::Tensor weight_g, weight_v, bias;

 private:
  int64_t dilation_, padding_;
};

}  // namespace melflow::models
