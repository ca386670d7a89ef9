#pragma once

#include "engine/synth/stream.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// For models that compute all of time at once and see finitely far: fixed tiles of frames at absolute positions, each
/// with as much around it as the model can see, cut at the true ends. Any Vocoder with a finite reach.
class TiledStream : public Stream {
 public:
  /// Frames a tile: large beside the surroundings that are computed twice, small beside the memory of a machine.
  static constexpr int64_t kTileFrames = 512;

  TiledStream(std::shared_ptr<models::Vocoder> model, Noise noise, double sigma);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void finish(std::vector<float>& out) override;

 private:
  void compute_tile(int64_t end, std::vector<float>& out);

  std::shared_ptr<models::Vocoder> model_;
  Noise noise_;
  double sigma_;
  std::vector<float> frames_;  // [frames, n_mels], from first_ on
  int64_t first_ = 0;          // absolute number of the first frame that is kept
  int64_t count_ = 0;          // frames that came in
  int64_t done_ = 0;           // frames that were computed
};

}  // namespace melflow::engine
