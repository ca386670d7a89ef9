#pragma once

#include <cstdint>

#include "audio/mel.h"

namespace melflow::audio {

struct GriffinLimOptions {
  int iterations = 60;
  double momentum = 0.99;  ///< Perraudin et al. 2013, "A fast Griffin-Lim algorithm"; 0 is the original
  uint64_t seed = 0;       ///< of the random phases it starts from
};

/// Magnitudes [frames, n_fft/2 + 1] whose mels are the given ones: least squares over non-negative spectra.
std::vector<float> mel_to_magnitude(const Mel& mel, const MelOptions& recipe);

/// Log-mel → sound without a voice, by finding phases that agree with the magnitudes of overlapping frames
/// (Griffin & Lim 1984), frames · hop_length samples. The floor that every voice has to beat. Throws Error{bad_data}
/// where the mel does not have the recipe's bands or is not finite.
Waveform griffin_lim(const Mel& mel, const MelOptions& recipe, const GriffinLimOptions& options = {});

}  // namespace melflow::audio
