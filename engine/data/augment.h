#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace melflow::engine {

/// Crops are changed, so that a small corpus stands for more speakers, microphones and rooms than it has: speed
/// perturbation (Ko et al. 2015, Interspeech), which moves pitch and formants, a gain, and an equaliser. Their mels are
/// computed from what they have become.
struct Augmentation {
  double share = 0.5;       ///< of crops that are changed, 0 to 1
  double speed = 0;         ///< changed ones run at 1/(1 + speed) to 1 + speed of theirs, even in its logarithm
  double gain_db = 0;       ///< and are up to so much louder or softer
  double equaliser_db = 0;  ///< and heard through a smooth random curve: its RMS over the frequencies, expected
  double noise = 0;         ///< share of the changed ones to which white noise is added, before the curve

  bool any() const { return share > 0 && (speed > 0 || gain_db > 0 || equaliser_db > 0 || noise > 0); }
};

/// What becomes of one crop.
struct CropChange {
  double speed = 1;
  double gain = 1;   ///< of amplitudes
  double noise = 0;  ///< its level over the crop's, 0.01 to 2
  uint64_t noise_seed = 0;
  std::vector<double> taps;  ///< of the equaliser, minimum phase, taps[0] = 1; empty: none

  bool none() const { return speed == 1 && gain == 1 && noise == 0 && taps.empty(); }
};

/// The change of the crop of that global index: a pure function of its arguments.
CropChange change_of(const Augmentation& augmentation, int64_t seed, uint64_t index);

/// Samples of the sound as it is, of which changed() makes `count`.
int64_t samples_for(const CropChange& change, int64_t count);

/// `sound`, samples_for(change, count) of them, changed: `count` samples, in step with its beginning. The first and the
/// last kChangeMargin hear an edge that the whole sound does not have.
std::vector<float> changed(std::span<const float> sound, const CropChange& change, int sample_rate, int64_t count);
inline constexpr int64_t kChangeMargin = 512;

}  // namespace melflow::engine
