#include "engine/data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "audio/resample.h"
#include "engine/data/sample_order.h"
#include "engine/noise.h"

namespace melflow::engine {
namespace {

/// Cosines of an equaliser's curve, which makes its narrowest features 11025 / 32 = 340 Hz wide at 22050 Hz.
constexpr int kCosines = 32;
constexpr int kTaps = 128;
/// Random numbers of a crop: its share, speed and gain, then the cosines; the last two are of noise.
constexpr uint64_t kNumbers = 64;

/// log|H(ω)| = Σ_k c_k cos(kω) by exp(Σ_k c_k z^-k), which is causal and minimum phase: n·h_n = Σ_k k·c_k·h_(n-k)
/// (Oppenheim & Schafer, Discrete-Time Signal Processing, the cepstrum of a minimum-phase sequence).
std::vector<double> minimum_phase(std::span<const double> cepstrum) {
  std::vector<double> h(kTaps, 0.0);
  h[0] = 1;
  for (int n = 1; n < kTaps; ++n) {
    double sum = 0;
    for (int k = 1; k <= std::min(n, kCosines); ++k)
      sum += k * cepstrum[static_cast<size_t>(k - 1)] * h[static_cast<size_t>(n - k)];
    h[static_cast<size_t>(n)] = sum / n;
  }
  return h;
}

/// White, of `level` times the sound's own RMS: sums of four uniform numbers, which are nearly normal.
void add_noise(std::span<float> sound, double level, uint64_t seed) {
  double power = 0;
  for (const float x : sound) power += static_cast<double>(x) * x;
  const double scale = level * std::sqrt(3 * power / static_cast<double>(std::max<size_t>(sound.size(), 1)));
  for (size_t t = 0; t < sound.size(); ++t) {
    const auto u = philox(t, kAugmentNoiseStream, seed);
    const double sum = static_cast<double>(u.v[0]) + u.v[1] + u.v[2] + u.v[3];
    sound[t] += static_cast<float>(scale * (sum * 0x1p-32 - 2));
  }
}

}  // namespace

CropChange change_of(const Augmentation& augmentation, int64_t seed, uint64_t index) {
  CropChange change;
  if (!augmentation.any()) return change;
  // From -1 to 1.
  const auto number = [&](uint64_t i) { return 2 * uniform_at(seed, kAugmentStream, index * kNumbers + i) - 1; };
  if ((number(0) + 1) / 2 >= augmentation.share) return change;
  change.speed = std::pow(1 + augmentation.speed, number(1));
  change.gain = std::pow(10.0, augmentation.gain_db * number(2) / 20);
  if ((number(kNumbers - 1) + 1) / 2 < augmentation.noise) {
    change.noise = std::pow(10.0, (-17 + 23 * number(kNumbers - 2)) / 20);
    change.noise_seed = philox(index, kAugmentNoiseStream, static_cast<uint64_t>(seed)).v[0];
  }
  if (augmentation.equaliser_db <= 0) return change;
  // Cosine k has 1/k of the first one's size: tilts and broad humps rather than combs. A uniform number's variance is
  // 1/3, a cosine's 1/2.
  std::vector<double> cepstrum(kCosines);
  double variance = 0;
  for (int k = 1; k <= kCosines; ++k) {
    cepstrum[static_cast<size_t>(k - 1)] = number(static_cast<uint64_t>(2 + k)) / k;
    variance += 1.0 / 6 / (k * k);
  }
  const double scale = augmentation.equaliser_db * std::numbers::ln10 / 20 / std::sqrt(variance);
  for (auto& c : cepstrum) c *= scale;
  change.taps = minimum_phase(cepstrum);
  return change;
}

int64_t samples_for(const CropChange& change, int64_t count) {
  return change.speed == 1 ? count : static_cast<int64_t>(std::ceil(static_cast<double>(count) * change.speed)) + 1;
}

std::vector<float> changed(std::span<const float> sound, const CropChange& change, int sample_rate, int64_t count) {
  // A sound of `rate` samples a second, taken for one of sample_rate, lasts as long at that speed.
  auto at_speed = audio::resample(sound, static_cast<int>(std::lround(sample_rate * change.speed)), sample_rate);
  at_speed.resize(static_cast<size_t>(count), 0.0f);  // whole rates are a little off: some samples of a long crop
  if (change.noise > 0) add_noise(at_speed, change.noise, change.noise_seed);
  std::vector<float> out(static_cast<size_t>(count));
  for (int64_t t = 0; t < count; ++t) {
    double sum = at_speed[static_cast<size_t>(t)];
    const auto heard = std::min<int64_t>(t + 1, std::ssize(change.taps));
    for (int64_t k = 1; k < heard; ++k)
      sum += change.taps[static_cast<size_t>(k)] * at_speed[static_cast<size_t>(t - k)];
    out[static_cast<size_t>(t)] = static_cast<float>(sum * change.gain);
  }
  return out;
}

}  // namespace melflow::engine
