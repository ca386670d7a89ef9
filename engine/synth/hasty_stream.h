#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/synth/snr_meter.h"
#include "engine/synth/waveglow_stream.h"

namespace melflow::engine {

/// Frames that are spoken together where so many may be looked ahead: each chunk costs a run through the whole reach.
inline int64_t hasty_chunk(int64_t frames) { return std::max<int64_t>(1, frames / 4); }

/// WaveGlow with less patience than it needs: it sees over a second ahead, and here says what it can after
/// `chunk + lookahead` frames. An exact stream goes on behind; at the end of each chunk a copy of it is told that the
/// last frame goes on and on, and gives what was asked for. The noise that follows is known and is the true one; only
/// the mel is guessed. Costs a run through the whole reach for each chunk.
class HastyStream : public Stream {
 public:
  /// The two streams must have the same weights, noise and sigma.
  HastyStream(std::unique_ptr<WaveGlowStream> exact, std::unique_ptr<WaveGlowStream> guess, const WaveGlowWeights& w,
              int64_t lookahead_frames, int64_t chunk_frames);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void finish(std::vector<float>& out) override;
  std::optional<double> snr_db() const override { return meter_.db(); }

 private:
  void speak_chunk(std::vector<float>& out);
  void give(std::span<const float> samples, std::vector<float>& out);
  std::unique_ptr<WaveGlowStream> exact_, guess_;
  size_t bands_;
  int64_t hop_, lookahead_, chunk_;
  std::vector<float> waiting_;     // frames of a chunk that is not complete
  int64_t frames_ = 0;             // that went into exact_
  int64_t known_ = 0, given_ = 0;  // samples that came out of exact_, and that were given
  SnrMeter meter_;
};

}  // namespace melflow::engine
