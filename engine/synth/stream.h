#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/kernels/tile_kernels.h"
#include "engine/noise.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// Mel frames in, samples out: the one way in which the engine makes sound. What comes out does not depend on how the
/// frames were cut into calls, so streaming is offline synthesis.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Takes any number of frames, [count, n_mels] frame after frame, and appends the samples that are ready to out.
  virtual void add(std::span<const float> frames, std::vector<float>& out) = 0;
  /// No frame follows: appends the rest. frames·hop_length samples came out in all.
  virtual void finish(std::vector<float>& out) = 0;
};

struct BlockWeights;
struct WaveGlowWeights;
class ThreadTeam;

/// Opens streams for one model, in the fastest way that fits it; what can be prepared once is prepared here, and shared
/// by any number of streams, which may outlive this.
class StreamSource {
 public:
  /// A lower precision is for WaveGlow on the CPU: throws Error{usage} where the model has no such path.
  explicit StreamSource(std::shared_ptr<models::Vocoder> model, Precision precision = Precision::fp32);
  std::unique_ptr<Stream> open(Noise noise, double sigma) const;

 private:
  std::shared_ptr<models::Vocoder> model_;
  std::shared_ptr<const BlockWeights> block_weights_;        // of a BlockFlow
  std::shared_ptr<const WaveGlowWeights> waveglow_weights_;  // of a WaveGlow on the CPU
  std::shared_ptr<ThreadTeam> team_;                         // that its streams work with
};

}  // namespace melflow::engine
