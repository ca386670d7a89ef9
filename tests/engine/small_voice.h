#pragma once

#include <torch/torch.h>

#include "audio/mel.h"
#include "engine/model_config.h"
#include "engine/model_voice.h"
#include "engine/noise.h"

namespace melflow::testing {

/// A WaveGlow of a few thousand weights, all of them away from their starting values.
inline engine::ModelVoice small_voice(uint64_t seed = 1) {
  torch::manual_seed(seed);
  engine::ModelVoice voice;
  voice.name = "small";
  voice.mel.n_mels = 8;
  voice.model_config = engine::resolved_model_config({{"system", "waveglow"},
                                                      {"n_mels", 8},
                                                      {"n_flows", 3},
                                                      {"early_every", 2},
                                                      {"wavenet_layers", 2},
                                                      {"wavenet_channels", 4}},
                                                     "small");
  voice.model = engine::build_vocoder(voice.model_config, "small");
  torch::NoGradGuard no_grad;
  for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.05);
  voice.model->eval();
  return voice;
}

inline audio::Mel small_mel(int frames) {
  audio::Mel mel{8, frames, {}, {}};
  for (int i = 0; i < 8 * frames; ++i) mel.values.push_back(engine::normal_at(77, i % 8, i / 8) - 3);
  return mel;
}

}  // namespace melflow::testing
