#pragma once

#include <algorithm>
#include <memory>

#include <torch/torch.h>

#include "audio/mel.h"
#include "models/block_flow.h"
#include "tests/support/frames_of.h"

namespace melflow::testing {

/// A BlockFlow for small_mel, every weight away from its starting value, in evaluation mode.
inline std::shared_ptr<models::BlockFlow> block_flow(int64_t hop = 256) {
  torch::manual_seed(3);
  auto model = std::make_shared<models::BlockFlow>(models::BlockFlowOptions{.n_mels = 8,
                                                                            .hop_length = hop,
                                                                            .encoder_channels = 16,
                                                                            .hidden = 24,
                                                                            .layers = 2,
                                                                            .past = std::max<int64_t>(512, hop)});
  audio::MelOptions recipe;
  recipe.n_mels = 8;
  const auto bank = audio::mel_filterbank(recipe);
  model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({8, -1}));
  torch::NoGradGuard no_grad;
  for (auto& p : model->parameters()) p.add_(torch::randn_like(p) * 0.03);
  model->eval();
  return model;
}

}  // namespace melflow::testing
