#pragma once

#include <torch/torch.h>

#include "cpu/tile_kernels.h"
#include "models/nets/row_products.h"

namespace melflow::models {

// One layer of a WaveNet over rows [batch, time, channels], for wavenet_rows.h.

struct WaveNetSizes {
  int64_t batch, time, channels, frames, context, outputs;
  cpu::Precision precision;  ///< of products; all else is float32
  int64_t rows() const { return batch * time; }
  int64_t repeat() const { return time / frames; }  ///< rows of a frame of context
};

/// A layer's tensors: those of WaveNetLayer and its part of the conditioning's.
struct LayerTensors {
  torch::Tensor in_weight, in_bias, out_weight, out_bias, cond_weight, cond_bias;
  int64_t dilation;
  int64_t kernel() const { return in_weight.size(2); }
  int64_t offset(int64_t tap) const { return (tap - (kernel() - 1) / 2) * dilation; }
};

/// What a layer keeps for its gradients.
struct LayerKept {
  torch::Tensor h, tanh, sigmoid, product;  ///< [batch, time, channels]
};

/// The context, of which all layers read the same, as their products read it.
struct LayerContext {
  LayerContext(const WaveNetSizes& sizes, const torch::Tensor& context);  ///< [batch, frames, context]
  torch::Tensor values;
  PackedRows rows;
};

/// Fills the other tensors of `kept` and next [batch, time, channels] (none behind the last layer), and adds to sum
/// [batch, time, outputs], but for its bias.
void layer_forward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                   const LayerContext& context, const torch::Tensor& next, const torch::Tensor& sum);

/// What passes from layer to layer, backwards.
struct PassedBack {
  torch::Tensor of_h;    ///< of the layer's output, then of its input
  torch::Tensor of_sum;  ///< the same for all layers
  Correlated context;    ///< whose words are packed, since all layers correlate with it; of_weight is each layer's own
  torch::Tensor of_context;
  torch::Tensor of_u, of_frames;  ///< scratch: [batch, time, 2·channels], [batch, frames, 2·channels]; one if alike
};

struct LayerGradients {
  torch::Tensor in_weight, in_bias, out_weight;
  torch::Tensor residual_bias;  ///< the residual's part of out_bias
};

/// Adds to of_conditioning, a part of the gradient of the conditioning's weight; its bias has that of in_bias.
LayerGradients layer_backward(const WaveNetSizes& sizes, const LayerTensors& layer, const LayerKept& kept,
                              const PassedBack& passed, const torch::Tensor& of_conditioning);

}  // namespace melflow::models
