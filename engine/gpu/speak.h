#pragma once

#include <memory>
#include <vector>

#include "engine/gpu/session.h"

namespace melflow::gpu {

/// What a Session is checked and timed with.
struct Utterance {
  int frames;
  std::vector<float> mel, z;  ///< [frames, n_mels], [groups, group_size]
};

/// Numbers of the size of a mel's and of noise at sigma 0.7; a pure function of the seed.
Utterance utterance(const PlainWaveGlow::Sizes& sizes, int frames, unsigned seed);

/// Speaks utterances side by side, one a slot, in passes of these lengths, over and over, until all have ended.
std::vector<std::vector<float>> speak(std::shared_ptr<const DeviceWaveGlow> model, const std::vector<Utterance>& all,
                                      const std::vector<int>& lengths, TileShape shape = TileShape::automatic);

/// 10·log10(Σ expected² / Σ (actual - expected)²).
double snr_db(const std::vector<float>& actual, const std::vector<double>& expected);

}  // namespace melflow::gpu
