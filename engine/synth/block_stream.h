#pragma once

#include <memory>
#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/lane_fft.h"
#include "engine/synth/block_guide.h"
#include "engine/synth/stream.h"

namespace melflow::engine {

/// BlockFlow, block after block, without LibTorch in its path: models::BlockFlow::inverse is its oracle, but that no
/// sample is louder than what the filter sees (kFilterLimit). State a stream: some 130 kB (twice that for a hasty one).
/// Every block is computed by the same operations whatever the chunks were.
class BlockStream : public Stream {
 public:
  /// With `guessed_frames` > 0 it is as many frames ahead of what the encoder needs, whose place its last one takes.
  BlockStream(std::shared_ptr<const BlockWeights> weights, Noise noise, double sigma, int64_t guessed_frames = 0);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void hear(std::span<const float> frames) override;
  void finish(std::vector<float>& out) override;

 private:
  /// Speaks the blocks that `guides`, whose next is block `at`, know and that were not spoken yet. Answers the next.
  int64_t emit(BlockGuides& guides, int64_t at, std::vector<float>& out);
  void speak_block(const BlockGuide& guide, std::span<const float> draws, std::vector<float>& out);
  /// models::BlockFlow::choose of the draws [draws, group]; e and x [group] become the residual and samples of its
  /// block.
  size_t choose(const BlockGuide& guide, std::span<const float> draws, std::span<float> e, std::span<float> x);
  void look_back(const BlockGuide& guide);
  void weigh_lags(const BlockGuide& guide);
  void guess_twice(const BlockGuide& guide);
  void begin_guess(std::span<const float> past);
  void finish_guess(size_t n, std::span<const float> magnitude, int iterations, std::span<float> guess);
  float trust(double expected);
  void filter_past(const BlockGuide& guide);
  void see_guess(const BlockGuide& guide, size_t which, float* seen);
  void run_network(const BlockGuide& guide);

  std::shared_ptr<const BlockWeights> weights_;
  BlockGuides guides_, hasty_guides_;
  Noise noise_;
  double sigma_;
  int64_t guessed_frames_;
  int64_t block_ = 0, known_ = 0;  // the next to be spoken, and the next of guides_
  size_t group_, past_length_, taps_;
  std::vector<double> window_;  // [kFft] Hann
  audio::FloatRealFft fft_;
  audio::FloatLaneFft lane_fft_;             // of candidates for a block
  std::vector<float> candidates_;            // [kFft, lanes]: the past and each block, silence behind it
  std::vector<float> residuals_;             // [group, lanes]
  std::vector<float> spectra_;               // [bins, lanes]
  float trust_ = 1;                          // in the past, by the block at hand
  std::vector<float> x_, e_;                 // the past: [kInversionPast], [past], the newest last
  std::vector<float> seen_e_, seen_x_;       // [past], as the network sees them
  std::vector<float> from_past_;             // [group]: what the filter makes of the past alone
  std::vector<double> energy_e_, energy_x_;  // [past + 1]: of the samples before each place in seen_e_, seen_x_
  std::vector<float> correlations_;          // [lags], the longest first
  std::vector<float> lag_weights_;           // [lags]
  std::vector<float> context_, h_, gates_;
  std::vector<float> guesses_[2];  // [2·group]: silence, then a guess of the block
  std::vector<float> windowed_;    // [kInversionPast]: the past that a guess continues
  std::vector<float> out_;         // [2·group]: μ and exp(s)
};

}  // namespace melflow::engine
