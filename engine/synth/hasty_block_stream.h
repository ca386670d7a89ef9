#pragma once

#include "engine/synth/block_stream.h"
#include "engine/synth/snr_meter.h"

namespace melflow::engine {

/// A BlockStream that does not wait for all that its encoder looks ahead, and beside it the exact one, for the error.
/// Samples feed on those before, so a small difference once is another sound for good: as much the voice's, but no
/// longer sample by sample the same.
class HastyBlockStream : public Stream {
 public:
  HastyBlockStream(const std::shared_ptr<const BlockWeights>& weights, const Noise& noise, double sigma,
                   int64_t guessed_frames)
      : exact_(weights, noise.noting(), sigma), hasty_(weights, noise, sigma, guessed_frames) {}
  void add(std::span<const float> frames, std::vector<float>& out) override {
    exact_.add(frames, meter_.truth);
    const size_t before = out.size();
    hasty_.add(frames, out);
    heard(out, before);
  }
  void finish(std::vector<float>& out) override {
    exact_.finish(meter_.truth);
    const size_t before = out.size();
    hasty_.finish(out);
    heard(out, before);
  }
  std::optional<double> snr_db() const override { return meter_.db(); }

 private:
  void heard(const std::vector<float>& out, size_t before) {
    meter_.said.insert(meter_.said.end(), out.begin() + static_cast<ptrdiff_t>(before), out.end());
    meter_.compare();
  }
  BlockStream exact_, hasty_;
  SnrMeter meter_;
};

}  // namespace melflow::engine
