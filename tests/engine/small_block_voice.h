#pragma once

#include <memory>
#include <vector>

#include <torch/torch.h>

#include "audio/mel.h"
#include "models/block_flow.h"

namespace melflow::testing {

/// A BlockFlow for small_mel, every weight away from its starting value, in evaluation mode.
inline std::shared_ptr<models::BlockFlow> block_flow() {
  torch::manual_seed(3);
  auto model = std::make_shared<models::BlockFlow>(
      models::BlockFlowOptions{.n_mels = 8, .encoder_channels = 16, .hidden = 24, .layers = 2});
  audio::MelOptions recipe;
  recipe.n_mels = 8;
  const auto bank = audio::mel_filterbank(recipe);
  model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({8, -1}));
  torch::NoGradGuard no_grad;
  for (auto& p : model->parameters()) p.add_(torch::randn_like(p) * 0.03);
  model->eval();
  return model;
}

/// [frames, n_mels], frame after frame.
inline std::vector<float> frames_of(const audio::Mel& mel) {
  std::vector<float> out;
  for (int t = 0; t < mel.frames; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) out.push_back(mel.values[static_cast<size_t>(m * mel.frames + t)]);
  }
  return out;
}

}  // namespace melflow::testing
