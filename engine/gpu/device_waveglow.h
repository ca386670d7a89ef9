#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/gpu/device.h"
#include "engine/gpu/plain_waveglow.h"
#include "engine/gpu/portable.h"

namespace melflow::gpu {

/// A WaveGlow's weights in a device's memory, packed once: matrices in bfloat16 as Product wants them, the rest in
/// float32. Each layer's skip goes through `end` at once (OutputArgs); the 1x1 convolutions are inverted in double. Any
/// number of sessions share one.
class DeviceWaveGlow {
 public:
  /// Why the kernels do not fit a model of these sizes; empty where they do.
  static std::string unsupported(const PlainWaveGlow::Sizes& sizes);

  /// Throws Error{config} where unsupported() says why, Error{unavailable} where the memory is too small.
  DeviceWaveGlow(std::shared_ptr<Device> device, const PlainWaveGlow& model);

  struct Layer {
    int side;  ///< rows to each side that the convolution sees
    int dilation;
    const Bf16* gate;        ///< [2·stride, gate_steps·64]: the context, then the taps from past to future
    const float* gate_bias;  ///< [2·stride]
    const Bf16* residual;    ///< [stride, channel_steps·64]; null in the last layer
    const float* residual_bias;
    const Bf16* skip;  ///< [8, channel_steps·64]
  };
  struct Flow {
    int channels, kept, early, early_at;
    const float* start;  ///< [kept + 1, stride]
    const float* end_bias;
    const float* inverse;
    std::vector<Layer> layers;
    int side;  ///< groups to each side that its WaveNet sees
  };

  const std::shared_ptr<Device>& device() const { return device_; }
  const PlainWaveGlow::Sizes& sizes() const { return sizes_; }
  int stride() const { return stride_; }  ///< channels, to a multiple of 8
  int context_stride() const { return context_stride_; }
  int mel_stride() const { return mel_stride_; }
  int lag() const { return lag_; }                           ///< groups that a sample needs to come after it
  const std::vector<Flow>& flows() const { return flows_; }  ///< in the order of the inverse
  const Bf16* upsample() const { return upsample_; }  ///< [groups_per_frame·context_stride, 2·taps·mel_steps·64]
  const float* upsample_bias() const { return upsample_bias_; }
  size_t bytes() const { return halves_.bytes() + floats_.bytes(); }

 private:
  std::shared_ptr<Device> device_;
  PlainWaveGlow::Sizes sizes_;
  int stride_, context_stride_, mel_stride_, lag_ = 0;
  std::vector<Flow> flows_;
  const Bf16* upsample_ = nullptr;
  const float* upsample_bias_ = nullptr;
  Buffer<Bf16> halves_;
  Buffer<float> floats_;
};

/// Steps of Product::kDepth that hold so many channels.
int depth_steps(int channels);

}  // namespace melflow::gpu
