#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "audio/sound_file.h"
#include "engine/data/corpus.h"
#include "engine/noise.h"
#include "tests/files/checkpoints.h"
#include "tests/support/shared.h"

namespace melflow::testing {

/// A voiced sound, each number another: harmonics with a slow swell, and a little noise.
inline audio::Waveform tone(double seconds, int number = 0, int rate = 22050) {
  audio::Waveform out{{}, rate};
  const auto n = static_cast<int64_t>(seconds * rate);
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / rate;
    double x = 0.002 * engine::normal_at(5, 4 * number, i);
    for (int h = 1; h < 6; ++h) x += 0.05 / h * std::sin(2 * M_PI * (120 + 7 * number) * h * t);
    out.samples.push_back(static_cast<float>(x * (0.6 + 0.4 * std::sin(2 * M_PI * 3 * t))));
  }
  return out;
}

/// A file's bytes.
inline std::string content(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write(const std::filesystem::path& path, const audio::Waveform& sound) {
  audio::write_audio(path, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
}

}  // namespace melflow::testing
