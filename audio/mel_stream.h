#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "audio/mel.h"

namespace melflow::audio {

/// The mel of sound that is still arriving: bit for bit MelExtractor's, however the samples were cut, the mirrored ends
/// included. A frame comes out with the last sample under its window (without `centre`, where a hop is longer than the
/// window, with the last of its hop), the first ones when there is enough to mirror (n_fft/2 + 1 samples); finish()
/// adds those that reach beyond the end.
class MelStream {
 public:
  explicit MelStream(const MelOptions& options);

  /// Takes samples of the recipe's rate; appends the frames that are whole, [count, n_mels] frame after frame.
  void add(std::span<const float> samples, std::vector<float>& frames);
  /// No sample follows. Throws Error{bad_data} where the whole was too short for a mel, as MelExtractor does.
  void finish(std::vector<float>& frames);
  /// Forgets what it has taken: it stands at the beginning of another sound.
  void reset();

  const MelOptions& options() const { return extractor_.options(); }
  int64_t samples() const { return first_ + static_cast<int64_t>(kept_.samples.size()); }  ///< taken so far

 private:
  void take(int64_t end, std::vector<float>& frames);

  MelExtractor extractor_;
  int64_t pad_, reach_;  // samples of padding; samples behind its own begin that a frame sees
  Waveform kept_;        // the samples from first_ on
  int64_t first_ = 0;    // a multiple of the hop, so that a frame of the whole is one of kept_ too
  int64_t done_ = 0;     // frames that came out
};

}  // namespace melflow::audio
