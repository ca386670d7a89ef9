#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "audio/mel.h"

namespace melflow::audio {

struct RefineOptions {
  static constexpr int kMostPasses = 64;  ///< that are of any use

  int passes = 8;  ///< over what is not given out yet, each time a frame is complete
  /// Hops by which a sample is given out later than it came: the window is one frame more, a lane of FloatLaneFft each.
  int delay = 15;
  /// Of the last pass's change, how much the next one goes on with (heavy ball; Perraudin et al. 2013 do so too).
  double momentum = 0.9;

  /// The least delay with which every sample has been in some complete frame.
  static int least_delay(const MelOptions& recipe) { return recipe.n_fft / recipe.hop_length - 1; }
  /// The usual ones; their delay is no less than that.
  static RefineOptions of(const MelOptions& recipe, int64_t passes);
};

/// Brings a sound nearer to the mel that it was made from: alternating projections, as Griffin & Lim (1984) have them,
/// between signals and spectrograms with what is known. Here that is the mel alone: in each frame every band gets the
/// gain that it lacks, and the bins of a band keep their proportions and phases, which are the voice's. On a window
/// that slides over the sound, as real-time spectrogram inversion has it (Zhu, Beauregard & Wyse 2007): once a frame is
/// complete, the frames that touch samples not yet given out are corrected `passes` times.
/// What no band hears, above f_max, is left as it is but for what cannot be (refining_bank.h). `samples` are
/// frames·hop_length; the answer is as long. This is the plain version, in double: the oracle of Refiner. Throws
/// Error{bad_data} where the mel does not have the recipe's bands or as many frames, Error{config} where hop_length
/// does not divide n_fft.
std::vector<float> refine(std::span<const float> samples, const Mel& mel, const MelOptions& recipe,
                          const RefineOptions& options = {});

}  // namespace melflow::audio
