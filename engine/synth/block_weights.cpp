#include "engine/synth/block_weights.h"

#include <cmath>
#include <string>

#include <torch/torch.h>

#include "engine/tensors.h"

namespace melflow::engine {
namespace {

PackedLinear pack(const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto w = tensor_vector(weight);
  const auto b = bias.defined() ? tensor_vector(bias) : std::vector<float>();
  return {w, b, static_cast<int>(weight.size(1)), static_cast<int>(weight.size(0))};
}

}  // namespace

BlockWeights::BlockWeights(const models::BlockFlow& model) : options(model.options()) {
  const auto all = model.named_parameters();
  const auto linear = [&](const std::string& name) {
    const auto* bias = all.find(name + ".bias");
    return pack(all[name + ".weight"], bias != nullptr ? *bias : torch::Tensor());
  };
  for (int i = 0; i < 4; ++i) {
    const auto name = "encoder_" + std::to_string(i);
    // [out, in, kernel] → [out, kernel · in]: frames lie one after the other in the input.
    encoder.push_back(pack(all[name + ".weight"].transpose(1, 2).flatten(1), all[name + ".bias"]));
  }
  cepstrum = linear("cepstrum");
  film = linear("film");
  lag_bias = linear("lag_bias");
  past = linear("past");
  out = linear("out");
  for (int64_t i = 0; i < options.layers; ++i) layers.push_back(linear("layer_" + std::to_string(i)));
  mel_to_magnitude = pack(model.named_buffers()["mel_to_magnitude"].t(), {});
  const auto log_sharpness = tensor_vector(all["sharpness"]);
  for (int i = 0; i < 2; ++i) sharpness[i] = std::exp(log_sharpness[static_cast<size_t>(i)]);
}

}  // namespace melflow::engine
