#pragma once

#include <vector>

#include <torch/torch.h>

namespace melflow::models {

/// A WaveNet's training on a CPU in float32, over rows [batch, time, channels] (channels last): what oneDNN multiplies
/// fastest, with the gate in one pass. Once differentiable. WaveNet::plain_forward is its oracle.

/// x [batch, time, in] · weight [out, in, kernel] + bias, zeros beyond the ends → [batch, time, out].
torch::Tensor conv_rows(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                        int64_t dilation = 1);

/// A layer's weights; `out` is the residual's rows [channels], none in the last layer, then what is added up over all
/// layers.
struct WaveNetLayer {
  torch::Tensor in_weight, in_bias;    ///< [2·channels, channels, kernel], [2·channels]
  torch::Tensor out_weight, out_bias;  ///< [(channels +) outputs, channels, 1]
  int64_t dilation;
};

/// h [batch, time, channels], conditioning [batch, time, 2·channels·layers] → the sum [batch, time, outputs].
torch::Tensor wavenet_rows(const torch::Tensor& h, const torch::Tensor& conditioning,
                           const std::vector<WaveNetLayer>& layers);

}  // namespace melflow::models
