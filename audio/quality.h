#pragma once

#include <span>

#include "audio/mel.h"

namespace melflow::audio {

/// How a synthesised sound differs from the recording it should equal. No single number tells quality (by mel_l1 alone,
/// white noise that is refined to the mel beats Griffin-Lim); read them together.
struct Quality {
  double log_stft = 0.0;              ///< mean |Δ ln magnitude|, FFT sizes 512, 1024, 2048, floor 1e-5
  double spectral_convergence = 0.0;  ///< ‖|S_ref| - |S|‖ / ‖|S_ref|‖ (Frobenius), mean of the same three
  double mel_l1 = 0.0;                ///< mean |Δ log-mel| of the recipe
  double voicing_f1 = 0.0;            ///< of the voiced frames; NaN where neither has one
  double pitch_error_cents = 0.0;     ///< median |Δ pitch| of frames voiced in both; NaN where there is none
  double hum_db = 0.0;                ///< see hum_db() below, of the synthesised sound
};

/// Both are cut to the shorter length first. Throws Error{bad_data} where rates differ from the recipe's or the
/// sound is shorter than the largest FFT.
Quality compare(const Waveform& reference, const Waveform& synthesised, const MelOptions& recipe, int n_group = 8);

/// Energy of the tones at k·rate/n_group, 0 < k < n_group/2, over that of their spectral neighbours, in dB, mean over
/// k; of the average power spectrum. A flow that works on groups of samples hums there; a recording is near 0.
/// 0 where the sound is silent or shorter than 4096 samples.
double hum_db(std::span<const float> samples, int n_group);

}  // namespace melflow::audio
