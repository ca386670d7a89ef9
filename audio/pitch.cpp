#include "audio/pitch.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <span>

#include "cpu/clones.h"

namespace melflow::audio {
namespace {

/// difference[lag] = Σ_{t < window} (x[t] - x[t + lag])², lag ≤ longest (the paper's eq. 6).
MELFLOW_CPU_CLONES void difference_function(const float* __restrict x, int window, int longest,
                                            float* __restrict difference) {
  for (int lag = 0; lag <= longest; ++lag) difference[lag] = 0.0f;
  for (int t = 0; t < window; ++t) {
    for (int lag = 0; lag <= longest; ++lag) {
      const float d = x[t] - x[t + lag];
      difference[lag] += d * d;
    }
  }
}

/// difference[lag] / mean of difference[1..lag] (eq. 8): 1 on average, near 0 at a period.
void normalise(std::span<const float> difference, std::span<float> normalised) {
  double sum = 0.0;
  normalised[0] = 1.0f;
  for (size_t lag = 1; lag < difference.size(); ++lag) {
    sum += difference[lag];
    normalised[lag] = sum > 0.0 ? static_cast<float>(difference[lag] * static_cast<double>(lag) / sum) : 1.0f;
  }
}

/// The lowest point of the parabola through three neighbours, relative to the middle one.
double parabola_offset(double left, double middle, double right) {
  const double curvature = left - 2.0 * middle + right;
  return curvature > 0.0 ? std::clamp(0.5 * (left - right) / curvature, -0.5, 0.5) : 0.0;
}

/// Period in samples, 0 where no lag dips under the threshold (the paper's absolute threshold).
double find_period(std::span<const float> difference, std::span<const float> normalised, size_t shortest,
                   double threshold) {
  for (size_t lag = shortest; lag + 1 < normalised.size(); ++lag) {
    if (normalised[lag] >= threshold) continue;
    while (lag + 2 < normalised.size() && normalised[lag + 1] < normalised[lag]) ++lag;
    return static_cast<double>(lag) + parabola_offset(difference[lag - 1], difference[lag], difference[lag + 1]);
  }
  return 0.0;
}

double root_mean_square(std::span<const float> x) {
  double sum = 0.0;
  for (const float value : x) sum += static_cast<double>(value) * value;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

}  // namespace

std::vector<float> pitch_track(const Waveform& waveform, const PitchOptions& options) {
  assert(options.lowest > 0.0 && options.highest > options.lowest && options.hop_length > 0);
  const auto longest = static_cast<size_t>(std::ceil(waveform.sample_rate / options.lowest));
  const auto shortest = std::max<size_t>(2, static_cast<size_t>(waveform.sample_rate / options.highest));
  // Two of the longest periods, so that even the deepest voice is seen twice.
  const size_t window = 2 * longest, reach = window + longest + 1;
  const auto hop = static_cast<size_t>(options.hop_length);
  std::vector<float> f0(waveform.samples.size() / hop + 1, 0.0f);
  // Silence on both sides, so that frame i is centred on sample i·hop.
  std::vector<float> padded(waveform.samples.size() + 2 * reach, 0.0f);
  std::ranges::copy(waveform.samples, padded.begin() + static_cast<ptrdiff_t>(reach / 2));
  std::vector<float> difference(longest + 2), normalised(longest + 2);
  for (size_t frame = 0; frame < f0.size(); ++frame) {
    const float* x = padded.data() + frame * hop;
    if (root_mean_square({x, reach}) < options.quietest) continue;
    difference_function(x, static_cast<int>(window), static_cast<int>(longest) + 1, difference.data());
    normalise(difference, normalised);
    const double period = find_period(difference, normalised, shortest, options.threshold);
    if (period > 0.0) f0[frame] = static_cast<float>(waveform.sample_rate / period);
  }
  return f0;
}

}  // namespace melflow::audio
