#include <algorithm>
#include <cmath>

#include "audio/mel.h"

namespace melflow::audio {
namespace {

// Slaney's Auditory Toolbox: linear up to 1 kHz (66⅔ Hz a mel), then 27 mels for each factor of 6.4.
constexpr double kHzPerMel = 200.0 / 3.0;
constexpr double kBreakHz = 1000.0;
constexpr double kBreakMel = kBreakHz / kHzPerMel;
const double kLogStep = std::log(6.4) / 27.0;

double hz_to_mel(double hz, MelScale scale) {
  if (scale == MelScale::htk) return 2595.0 * std::log10(1.0 + hz / 700.0);
  return hz < kBreakHz ? hz / kHzPerMel : kBreakMel + std::log(hz / kBreakHz) / kLogStep;
}

double mel_to_hz(double mel, MelScale scale) {
  if (scale == MelScale::htk) return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
  return mel < kBreakMel ? mel * kHzPerMel : kBreakHz * std::exp(kLogStep * (mel - kBreakMel));
}

}  // namespace

std::vector<double> mel_filterbank(const MelOptions& options) {
  options.validate();
  // Corner m of n_mels + 2, equally spaced on the mel scale: band m rises from corner m to m + 1 and falls to m + 2.
  const double lowest = hz_to_mel(options.f_min, options.scale), highest = hz_to_mel(options.f_max, options.scale);
  std::vector<double> corners(static_cast<size_t>(options.n_mels) + 2);
  for (size_t m = 0; m < corners.size(); ++m) {
    const double share = static_cast<double>(m) / static_cast<double>(options.n_mels + 1);
    corners[m] = mel_to_hz(lowest + (highest - lowest) * share, options.scale);
  }
  const auto bins = static_cast<size_t>(options.n_fft / 2 + 1);
  std::vector<double> weights(static_cast<size_t>(options.n_mels) * bins);
  for (size_t m = 0; m < static_cast<size_t>(options.n_mels); ++m) {
    const double norm = options.norm == MelNorm::slaney ? 2.0 / (corners[m + 2] - corners[m]) : 1.0;
    for (size_t k = 0; k < bins; ++k) {
      const double hz = static_cast<double>(k) * options.sample_rate / options.n_fft;
      const double rising = (hz - corners[m]) / (corners[m + 1] - corners[m]);
      const double falling = (corners[m + 2] - hz) / (corners[m + 2] - corners[m + 1]);
      weights[m * bins + k] = std::max(0.0, std::min(rising, falling)) * norm;
    }
  }
  return weights;
}

}  // namespace melflow::audio
