#pragma once

#include <memory>
#include <span>
#include <vector>

#include "audio/fft.h"
#include "engine/synth/block_guide.h"
#include "engine/synth/stream.h"

namespace melflow::engine {

/// BlockFlow, block after block, without LibTorch in its path: models::BlockFlow::inverse is its oracle. State a
/// stream: some 20 kB. Every block is computed by the same operations whatever the chunks were.
class BlockStream : public Stream {
 public:
  BlockStream(std::shared_ptr<const BlockWeights> weights, Noise noise, double sigma);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void finish(std::vector<float>& out) override;

 private:
  void emit(std::vector<float>& out);
  void speak_block(const BlockGuide& guide, std::span<const float> z, std::vector<float>& out);
  void look_back(const BlockGuide& guide);
  void weigh_lags(const BlockGuide& guide);
  void guess(std::span<const float> past, std::span<const float> magnitude, int iterations, std::span<float> out);
  void filter_past(const BlockGuide& guide);
  void see_guess(const BlockGuide& guide, std::span<const float> past, std::span<const float> magnitude, int iterations,
                 size_t at);
  void run_network(const BlockGuide& guide);

  std::shared_ptr<const BlockWeights> weights_;
  BlockGuides guides_;
  Noise noise_;
  double sigma_;
  int64_t block_ = 0;
  size_t group_, past_length_, taps_;
  std::vector<double> window_;  // [kFft] Hann
  audio::RealFft fft_;
  std::vector<float> x_, e_;            // the past: [kInversionPast], [past], the newest last
  std::vector<float> seen_e_, seen_x_;  // [past], as the network sees them
  std::vector<float> from_past_;        // [group]: what the filter makes of the past alone
  std::vector<float> lag_weights_;      // [lags]
  std::vector<float> context_, h_, gates_, out_, guess_;
};

}  // namespace melflow::engine
