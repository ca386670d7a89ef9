#pragma once

#include <memory>

#include "engine/gpu/session.h"
#include "engine/synth/stream.h"

namespace melflow::engine {

/// Streams of a WaveGlow on an NVIDIA GPU, by our own kernels (engine/gpu) in bfloat16, without LibTorch. Null where
/// melflow was built without CUDA, or the kernels do not know the model. Throws Error{unavailable} where there is no
/// such GPU.
std::shared_ptr<const StreamSource> gpu_source(const ModelOptions& options,
                                               const std::map<std::string, files::TensorView>& tensors);

/// The same on a device of the caller's choice.
std::shared_ptr<const StreamSource> gpu_source(std::shared_ptr<gpu::Device> device, const ModelOptions& options,
                                               const std::map<std::string, files::TensorView>& tensors);

/// The sizes as the GPU's kernels and the count of operations know them.
gpu::PlainWaveGlow::Sizes sizes_of(const models::WaveGlowOptions& options);

/// What the GPU's kernels are made from. The options must ask for conditioning at the sample rate, and not for swapped
/// halves; `tensors` must be theirs (model_options.h).
gpu::PlainWaveGlow plain_waveglow(const models::WaveGlowOptions& options,
                                  const std::map<std::string, files::TensorView>& tensors);

/// One stream in a session of its own. Takes frames in passes as long as what came in allows, and waits for nothing.
class GpuStream : public Stream {
 public:
  static constexpr int kLongest = 264;  ///< frames of a pass: a whole wave of blocks on an H100

  GpuStream(std::shared_ptr<const gpu::DeviceWaveGlow> model, Noise noise, double sigma);
  void add(std::span<const float> frames, std::vector<float>& out) override;
  void finish(std::vector<float>& out) override;

 private:
  void pass(int frames, std::vector<float>& out);

  gpu::Session session_;
  Noise noise_;
  float sigma_;
  std::vector<float> waiting_;        // frames that no pass took yet
  int64_t entered_ = 0, spoken_ = 0;  // frames, groups
  std::vector<float> mel_, z_, samples_;
};

}  // namespace melflow::engine
