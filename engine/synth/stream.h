#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cpu/tile_kernels.h"
#include "engine/kernels/thread_team.h"
#include "engine/model_options.h"
#include "engine/noise.h"

namespace melflow::engine {

/// Mel frames in, samples out: the one way in which the engine makes sound. What comes out does not depend on how the
/// frames were cut into calls, so streaming is offline synthesis.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Takes any number of frames, [count, n_mels] frame after frame, and appends the samples that are ready to out.
  virtual void add(std::span<const float> frames, std::vector<float>& out) = 0;
  /// Does beforehand for frames that will be added, the next behind those that were heard or added, what needs no sound
  /// before them. May run beside an add() of frames that were heard.
  virtual void hear(std::span<const float> /*frames*/) {}
  /// No frame follows: appends the rest. frames·hop_length samples came out in all.
  virtual void finish(std::vector<float>& out) = 0;
  /// For a stream that is not exact: what it said so far over its error, in decibels.
  virtual std::optional<double> snr_db() const { return std::nullopt; }
};

/// Opens streams for one model; what can be prepared once is prepared there, and shared by any number of streams, which
/// may outlive it.
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  virtual std::unique_ptr<Stream> open(Noise noise, double sigma) const = 0;
  /// How many frames who has them all should add at once, `given` so far: a model's weights are read once for all of
  /// them, and WaveGlow's are hundreds of megabytes.
  virtual int frames_at_once(int64_t /*given*/) const { return 24; }
  /// How many streams it takes to give every thread something to do: one, where a stream's layers are shared by all.
  virtual int streams_at_once() const { return 1; }
  /// A thread for what is done to the sound while the next is made; null where streams leave none.
  virtual std::shared_ptr<ThreadTeam> spare_thread() const { return nullptr; }
  /// One that speaks `frames` frames after the mel though the model sees further (hasty_stream.h,
  /// hasty_block_stream.h); null where there is no such way.
  virtual std::unique_ptr<Stream> open_hasty(const Noise& /*noise*/, double /*sigma*/, int64_t /*frames*/) const {
    return nullptr;
  }
};

struct PackOptions {
  int threads = 0;  ///< for all streams together; 0: default_threads()
  cpu::Precision precision = cpu::Precision::fp32;
};

/// On the CPU, without LibTorch: the model's weights, packed. `tensors` are those that the options ask for
/// (require_tensors), and are not needed afterwards. Throws Error{usage} where the model has no such precision.
std::shared_ptr<const StreamSource> packed_source(const ModelOptions& options,
                                                  const std::map<std::string, files::TensorView>& tensors,
                                                  PackOptions pack = {});

}  // namespace melflow::engine
