#pragma once

#include <vector>

namespace melflow::audio {

/// Mono sound: samples nominally in [-1, 1], at sample_rate Hz. The one audio value of the program.
struct Waveform {
  std::vector<float> samples;
  int sample_rate = 22050;

  double seconds() const { return static_cast<double>(samples.size()) / sample_rate; }
};

}  // namespace melflow::audio
