#pragma once

#include <vector>

#include <torch/torch.h>

#include "cpu/tile_kernels.h"

namespace melflow::models {

/// A WaveNet's training on a CPU, over rows [batch, time, channels] (channels last) of float32. A few hundred rows at a
/// time pass through a layer whole, by the products of synthesis (row_products.h), and only what the backward pass
/// needs is written to memory. Once differentiable. WaveNet::plain_forward is its oracle.

/// A layer's weights; `out` is the residual's rows [channels], none in the last layer, then what is added up over all
/// layers.
struct WaveNetLayer {
  torch::Tensor in_weight, in_bias;    ///< [2·channels, channels, kernel], [2·channels]
  torch::Tensor out_weight, out_bias;  ///< [(channels +) outputs, channels]
  int64_t dilation;
};

/// Of all layers, one after another.
struct Conditioning1x1 {
  torch::Tensor weight, bias;  ///< [2·channels·layers, context, 1], [2·channels·layers]
};

/// h [batch, time, channels], context [batch, frames, …], each frame for time/frames rows → the sum
/// [batch, time, outputs]. In bf16 what products read is rounded, forward and backward; sums are float32, and so is all
/// else. int8 is none of training's.
torch::Tensor wavenet_rows(cpu::Precision precision, const torch::Tensor& h, const torch::Tensor& context,
                           const Conditioning1x1& conditioning, const std::vector<WaveNetLayer>& layers);

}  // namespace melflow::models
