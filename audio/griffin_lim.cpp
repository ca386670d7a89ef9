#include "audio/griffin_lim.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <complex>
#include <numbers>
#include <string>

#include "audio/sparse_bank.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

/// Uniform in [0, 1) from a counter (SplitMix64, Steele et al. 2014): the same phases on every machine.
double uniform(uint64_t seed, uint64_t counter) {
  uint64_t z = seed + (counter + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/// target's phase, magnitude's length; a zero has no phase and takes 0.
std::complex<float> with_phase_of(std::complex<float> target, float magnitude) {
  const float length = std::sqrt(std::norm(target));
  return length > 1e-20f ? target * (magnitude / length) : std::complex<float>(magnitude);
}

void check(const Mel& mel, const MelOptions& recipe) {
  recipe.validate();
  if (mel.n_mels != recipe.n_mels || mel.frames < 1) {
    throw Error(Exit::bad_data, "the mel is [" + std::to_string(mel.n_mels) + ", " + std::to_string(mel.frames) +
                                    "], the recipe has " + std::to_string(recipe.n_mels) +
                                    " bands; give the recipe that the mel was made with");
  }
  assert(mel.values.size() == static_cast<size_t>(mel.n_mels) * static_cast<size_t>(mel.frames));
  if (!std::ranges::all_of(mel.values, [](float value) { return std::isfinite(value); })) {
    throw Error(Exit::bad_data, "the mel holds values that are not finite numbers; compute it anew");
  }
}

}  // namespace

std::vector<float> mel_to_magnitude(const Mel& mel, const MelOptions& recipe) {
  check(mel, recipe);
  // Multiplicative updates (Lee & Seung 2001): S ← S · Bᵀm / BᵀBS keeps S ≥ 0 and lowers |BS - m|² every time.
  constexpr int kUpdates = 100;
  constexpr float kTiny = 1e-20f;
  // e^30 is beyond any recording, and its square still fits.
  constexpr float kLoudest = 30.0f;
  const SparseBank bank(recipe);
  const auto bins = static_cast<size_t>(bank.bins), bands = static_cast<size_t>(bank.bands);
  std::vector<float> magnitudes(static_cast<size_t>(mel.frames) * bins);
  std::vector<float> wanted(bands), reached(bands), spectrum(bins), numerator(bins), denominator(bins);
  for (size_t frame = 0; frame < static_cast<size_t>(mel.frames); ++frame) {
    for (size_t m = 0; m < bands; ++m) {
      wanted[m] = std::exp(std::min(mel.values[m * static_cast<size_t>(mel.frames) + frame], kLoudest));
    }
    bank.apply_transposed(wanted, numerator);
    spectrum = numerator;
    for (int update = 0; update < kUpdates; ++update) {
      bank.apply(spectrum, reached);
      bank.apply_transposed(reached, denominator);
      for (size_t k = 0; k < bins; ++k) spectrum[k] *= numerator[k] / (denominator[k] + kTiny);
    }
    std::ranges::copy(spectrum, magnitudes.begin() + static_cast<ptrdiff_t>(frame * bins));
  }
  return magnitudes;
}

Waveform griffin_lim(const Mel& mel, const MelOptions& recipe, const GriffinLimOptions& options) {
  const std::vector<float> magnitudes = mel_to_magnitude(mel, recipe);
  StftOptions framing = recipe.stft();
  framing.pad = Padding::zero;  // any length can be padded, and nothing is known of what lies outside
  Stft stft(framing);
  Spectrogram now{mel.frames, framing.bins(), {}}, consistent, before;
  now.values.resize(magnitudes.size());
  for (size_t i = 0; i < magnitudes.size(); ++i) {
    const auto angle = static_cast<float>(2.0 * std::numbers::pi * uniform(options.seed, i));
    now.values[i] = std::polar(magnitudes[i], angle);
  }
  // The length that has just these frames.
  const int64_t hop = recipe.hop_length;
  const int64_t length = std::max<int64_t>(1, (mel.frames - 1) * hop + recipe.n_fft - 2 * framing.pad_length());
  const auto push = static_cast<float>(options.momentum / (1.0 + options.momentum));
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    stft.forward(stft.inverse(now, length), consistent);
    assert(consistent.values.size() == now.values.size());
    for (size_t i = 0; i < magnitudes.size(); ++i) {
      const std::complex<float> earlier = before.values.empty() ? std::complex<float>() : before.values[i];
      now.values[i] = with_phase_of(consistent.values[i] - push * earlier, magnitudes[i]);
    }
    std::swap(before, consistent);
  }
  Waveform waveform;
  waveform.sample_rate = recipe.sample_rate;
  waveform.samples = stft.inverse(now, mel.frames * hop);
  return waveform;
}

}  // namespace melflow::audio
