#pragma once

#include <cmath>
#include <filesystem>
#include <vector>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "audio/sound_file.h"
#include "engine/model_config.h"
#include "engine/model_voice.h"
#include "tests/support/shared.h"

namespace melflow::engine {

inline std::filesystem::path golden_clip() { return melflow::testing::in_tree("data/golden/LJ001-0002.wav"); }

/// A WaveGlow with few random weights, of the published recipe, the same every time.
inline ModelVoice random_waveglow_voice(double level = 0.0) {
  torch::manual_seed(11);
  ModelVoice voice;
  voice.name = "small";
  voice.model_config = resolved_model_config(
      {{"system", "waveglow"}, {"n_mels", 80}, {"n_flows", 2}, {"wavenet_layers", 2}, {"wavenet_channels", 4}}, "test");
  voice.model = build_vocoder(voice.model_config, "test");
  voice.level = level;
  torch::NoGradGuard no_grad;
  for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.03);
  voice.model->eval();
  return voice;
}

inline void write_tone(const std::filesystem::path& path, double amplitude, size_t samples = 22050) {
  audio::Waveform sound{std::vector<float>(samples), 22050};
  for (size_t i = 0; i < samples; ++i) sound.samples[i] = static_cast<float>(amplitude * std::sin(0.06 * double(i)));
  audio::write_audio(path, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
}

}  // namespace melflow::engine
