#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

// Sounds that tests make for themselves.
namespace melflow::testing {

inline std::vector<float> sine(double hz, int sample_rate, size_t samples, double amplitude = 0.5) {
  std::vector<float> out(samples);
  for (size_t t = 0; t < samples; ++t) {
    out[t] =
        static_cast<float>(amplitude * std::sin(2.0 * std::numbers::pi * hz * static_cast<double>(t) / sample_rate));
  }
  return out;
}

/// Uniform in [-amplitude, amplitude), the same on every machine (a linear congruential generator, Knuth's MMIX).
inline std::vector<float> noise(size_t samples, double amplitude = 0.5, uint64_t seed = 1) {
  std::vector<float> out(samples);
  uint64_t state = seed;
  for (float& sample : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    sample = static_cast<float>((static_cast<double>(state >> 11) * 0x1p-52 - 1.0) * amplitude);
  }
  return out;
}

}  // namespace melflow::testing
