#include "audio/quality.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>

#include "audio/pitch.h"
#include "audio/stft.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

constexpr std::array kFftSizes = {512, 1024, 2048};

struct SpectralDistance {
  double log_difference = 0.0, convergence = 0.0;
};

SpectralDistance spectral_distance(std::span<const float> reference, std::span<const float> synthesised, int n_fft) {
  constexpr double kFloor = 1e-5;
  Stft stft({.n_fft = n_fft, .hop_length = n_fft / 4, .win_length = n_fft});
  const Spectrogram a = stft.forward(reference), b = stft.forward(synthesised);
  double log_sum = 0.0, difference = 0.0, energy = 0.0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    const double ma = std::sqrt(std::norm(std::complex<double>(a.values[i])));
    const double mb = std::sqrt(std::norm(std::complex<double>(b.values[i])));
    log_sum += std::abs(std::log(std::max(ma, kFloor)) - std::log(std::max(mb, kFloor)));
    difference += (ma - mb) * (ma - mb);
    energy += ma * ma;
  }
  // Against silence, anything but silence is infinitely far.
  const double convergence = difference == 0.0 ? 0.0 : std::sqrt(difference / energy);
  return {log_sum / static_cast<double>(a.values.size()), convergence};
}

double mel_l1(const Waveform& reference, const Waveform& synthesised, const MelOptions& recipe) {
  MelExtractor extractor(recipe);
  const Mel a = extractor(reference), b = extractor(synthesised);
  double sum = 0.0;
  for (size_t i = 0; i < a.values.size(); ++i) sum += std::abs(static_cast<double>(a.values[i]) - b.values[i]);
  return sum / static_cast<double>(a.values.size());
}

void compare_pitch(const Waveform& reference, const Waveform& synthesised, Quality& quality) {
  const std::vector<float> a = pitch_track(reference), b = pitch_track(synthesised);
  size_t both = 0, either = 0;
  std::vector<double> cents;
  for (size_t i = 0; i < a.size(); ++i) {
    both += a[i] > 0.0f && b[i] > 0.0f;
    either += (a[i] > 0.0f) + (b[i] > 0.0f);
    if (a[i] > 0.0f && b[i] > 0.0f) cents.push_back(std::abs(1200.0 * std::log2(static_cast<double>(b[i]) / a[i])));
  }
  // F1 = 2·both / (voiced in the one + voiced in the other).
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  quality.voicing_f1 = either == 0 ? kUnknown : 2.0 * static_cast<double>(both) / static_cast<double>(either);
  quality.pitch_error_cents = kUnknown;
  if (cents.empty()) return;
  const auto middle = cents.begin() + static_cast<ptrdiff_t>(cents.size() / 2);
  std::ranges::nth_element(cents, middle);
  quality.pitch_error_cents = *middle;
}

/// Mean power of bins [centre + from, centre + to], those that exist.
double mean_power(std::span<const double> power, int centre, int from, int to) {
  double sum = 0.0;
  int count = 0;
  for (int k = std::max(0, centre + from); k <= std::min(static_cast<int>(power.size()) - 1, centre + to); ++k) {
    sum += power[static_cast<size_t>(k)];
    ++count;
  }
  return count > 0 ? sum / count : 0.0;
}

}  // namespace

double hum_db(std::span<const float> samples, int n_group) {
  assert(n_group >= 2);
  constexpr int kFft = 4096;
  // A tone fills the main lobe of the Hann window, ±2 bins; its neighbours are the next 16 on each side.
  constexpr int kLobe = 2, kNeighbours = 16;
  if (samples.size() < kFft) return 0.0;
  Stft stft({.n_fft = kFft, .hop_length = kFft / 4, .win_length = kFft});
  const Spectrogram spectrogram = stft.forward(samples);
  std::vector<double> power(static_cast<size_t>(spectrogram.bins), 0.0);
  for (int frame = 0; frame < spectrogram.frames; ++frame) {
    const auto values = spectrogram.frame(frame);
    for (size_t k = 0; k < power.size(); ++k) power[k] += std::norm(std::complex<double>(values[k]));
  }
  double sum = 0.0;
  int tones = 0;
  for (int k = 1; 2 * k < n_group; ++k) {
    const auto centre = static_cast<int>(std::lround(static_cast<double>(k) * kFft / n_group));
    const double tone = mean_power(power, centre, -kLobe, kLobe);
    const double around = 0.5 * (mean_power(power, centre, -kLobe - kNeighbours, -kLobe - 1) +
                                 mean_power(power, centre, kLobe + 1, kLobe + kNeighbours));
    if (tone <= 0.0 || around <= 0.0) continue;
    sum += 10.0 * std::log10(tone / around);
    ++tones;
  }
  return tones > 0 ? sum / tones : 0.0;
}

Quality compare(const Waveform& reference, const Waveform& synthesised, const MelOptions& recipe, int n_group) {
  Waveform a = reference, b = synthesised;
  const size_t length = std::min(a.samples.size(), b.samples.size());
  a.samples.resize(length);
  b.samples.resize(length);
  if (length < static_cast<size_t>(kFftSizes.back())) {
    throw Error(Exit::bad_data, "sounds of " + std::to_string(length) + " samples are too short to be compared; " +
                                    std::to_string(kFftSizes.back()) + " are needed");
  }
  Quality quality;
  for (const int n_fft : kFftSizes) {
    const SpectralDistance distance = spectral_distance(a.samples, b.samples, n_fft);
    quality.log_stft += distance.log_difference / kFftSizes.size();
    quality.spectral_convergence += distance.convergence / kFftSizes.size();
  }
  quality.mel_l1 = mel_l1(a, b, recipe);
  compare_pitch(a, b, quality);
  quality.hum_db = hum_db(b.samples, n_group);
  return quality;
}

}  // namespace melflow::audio
