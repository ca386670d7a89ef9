#pragma once

#include <vector>

#include "audio/waveform.h"

namespace melflow::audio {

struct PitchOptions {
  double lowest = 80.0;     ///< Hz
  double highest = 500.0;   ///< Hz
  int hop_length = 256;     ///< samples; frame i is centred on sample i·hop_length
  double threshold = 0.15;  ///< aperiodic share of the energy up to which a frame counts as voiced
  double quietest = 1e-3;   ///< root mean square of a frame under which it counts as silent
};

/// Fundamental frequency in Hz for every frame (samples/hop_length + 1 of them), 0 where unvoiced: YIN
/// (de Cheveigné & Kawahara 2002), steps 1 to 5, with the same window for every signal.
std::vector<float> pitch_track(const Waveform& waveform, const PitchOptions& options = {});

}  // namespace melflow::audio
