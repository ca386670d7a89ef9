#pragma once

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/noise.h"
#include "engine/synth/synthesizer.h"
#include "tests/support/frames_of.h"

namespace melflow::testing {

/// A voice of any sizes with random weights, such that every one of them is heard and nothing explodes.
struct RandomVoice {
  engine::ModelOptions options;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, files::TensorView> views;
  engine::Voice voice;

  explicit RandomVoice(const engine::ModelOptions& o) : options(o) {
    const auto shapes = std::visit([](const auto& sizes) { return sizes.tensors(); }, options);
    int64_t seed = 0;
    for (const auto& [name, shape] : shapes) fill(name, shape.sizes, ++seed);
    voice.name = "random";
    voice.model_config = engine::model_config(options);
    voice.mel.n_mels = static_cast<int>(engine::n_mels(options));
    voice.mel.hop_length = static_cast<int>(engine::hop_length(options));
    voice.mel.n_fft = voice.mel.win_length = 4 * voice.mel.hop_length;
  }
  RandomVoice(const RandomVoice&) = delete;
  RandomVoice& operator=(const RandomVoice&) = delete;

  engine::Synthesizer synthesizer(const engine::SynthOptions& settings) const {
    return {voice, engine::packed_source(options, views, {settings.threads, settings.precision}), settings};
  }

 private:
  void fill(const std::string& name, const std::vector<int64_t>& sizes, int64_t seed) {
    size_t count = 1;
    for (const int64_t n : sizes) count *= static_cast<size_t>(n);
    auto& out = values[name];
    for (size_t i = 0; i < count; ++i) out.push_back(0.1f * engine::normal_at(7, seed, static_cast<int64_t>(i)));
    if (name.ends_with("_conv1x1.weight")) {
      for (int64_t i = 0; i < sizes[0]; ++i) out[static_cast<size_t>(i * sizes[0] + i)] += 1;
    }
    for (float& v : out) {
      if (name.ends_with("weight_g")) v = 0.5f + std::abs(v);
      if (name == "mel_to_magnitude") v = std::abs(v);
    }
    views[name] = {files::Dtype::f32, sizes, std::as_bytes(std::span(out))};
  }
};

inline models::WaveGlowOptions tiny_waveglow() {
  return {.n_mels = 4,
          .hop_length = 16,
          .n_flows = 3,
          .early_every = 2,
          .upsample_kernel = 40,
          .wavenet_layers = 2,
          .wavenet_channels = 6};
}

inline models::BlockFlowOptions tiny_block_flow() {
  return {.n_mels = 6,
          .hop_length = 64,
          .group_size = 64,
          .filter_taps = 64,
          .cepstrum = 40,
          .encoder_channels = 8,
          .hidden = 8,
          .layers = 1,
          .past = 256,
          .lags = 60,
          .correlation = 64};
}

/// Speech-like: loud and quiet in turn, bands apart.
inline audio::Mel random_mel(int n_mels, int frames) {
  audio::Mel mel{n_mels, frames, {}, {}};
  for (int m = 0; m < n_mels; ++m) {
    for (int t = 0; t < frames; ++t) mel.values.push_back(engine::normal_at(77, m, t) - 3);
  }
  return mel;
}

}  // namespace melflow::testing
