#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "engine/gpu/device_waveglow.h"
#include "engine/gpu/rows.h"
#include "engine/gpu/tile_product.h"

namespace melflow::gpu {

/// Streams of one WaveGlow on a device, side by side: a pass takes the same number of mel frames of each and gives as
/// many groups of samples, `lag` groups behind. Every layer keeps the rows that it still needs, so nothing is computed
/// twice, and what comes out does not depend, bit for bit, on how the frames were cut into passes: streaming is offline
/// synthesis. A pass is recorded once for each of its lengths (a CUDA graph) and replayed.
class Session {
 public:
  struct Options {
    int slots = 1;                              ///< streams side by side
    std::vector<int> frames = {1, 8, 32, 264};  ///< the lengths of passes that may be asked for
    TileShape shape = TileShape::automatic;
  };
  Session(std::shared_ptr<const DeviceWaveGlow> model, const Options& options);

  /// A new stream begins in the slot.
  void open(int slot);
  /// The slot's stream has so many frames in all, no fewer than came in. What a pass brings beyond them is ignored.
  void end(int slot, int64_t frames);
  void close(int slot);  ///< nobody uses the slot; it costs no arithmetic

  /// One pass of `frames` frames: mel [slots, frames, n_mels], z [slots, groups, group_size] with sigma included, one
  /// of Options::frames → samples [slots, groups, group_size], of which ready(slot) says which exist.
  void pass(int frames, std::span<const float> mel, std::span<const float> z, std::span<float> samples);
  /// The same in parts, for those who measure; compute() moves the streams on.
  void put(int frames, std::span<const float> mel, std::span<const float> z);
  void compute(int frames);
  void take(int frames, std::span<float> samples);

  /// Of the latest pass: groups [first, first + count) of its samples exist, from group `from` of the stream on.
  struct Ready {
    int first = 0, count = 0;
    int64_t from = 0;
  };
  Ready ready(int slot) const;

  const DeviceWaveGlow& model() const { return *model_; }
  int groups(int frames) const { return frames * model_->sizes().groups_per_frame(); }
  int kernels() const { return kernels_; }  ///< of a pass
  size_t state_bytes() const { return state_bytes_; }

 private:
  struct FlowState {
    std::vector<Buffer<Bf16>> x;  // each layer's input
    Buffer<float> latent, change;
  };
  template <typename T>
  Buffer<T> rows(int64_t count, int stride);
  template <typename T, typename U>
  Ring<T> ring(const Buffer<U>& buffer, int stride) const;
  Rows at(int frames, int lag) const;

  void launch(int frames);
  void launch_context(int frames);
  void launch_couple(int frames, size_t before, int lag);
  int launch_flow(int frames, size_t flow, int lag);

  std::shared_ptr<const DeviceWaveGlow> model_;
  std::shared_ptr<Device> device_;
  Options options_;
  std::vector<Slot> slots_;
  std::vector<Ready> ready_;
  int kernels_ = 0;
  size_t state_bytes_ = 0;
  Buffer<Slot> device_slots_;
  Buffer<float> mel_, z_, samples_, noise_;
  Buffer<Bf16> mel_high_, mel_low_, context_, activation_;
  std::vector<FlowState> flows_;
  std::map<int, std::unique_ptr<Device::Recording>> recordings_;
};

}  // namespace melflow::gpu
