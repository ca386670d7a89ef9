#include "engine/synth/gpu_stream.h"

#include <algorithm>

#include "engine/gpu/open_gpu.h"
#include "engine/synth/dense.h"

namespace melflow::engine {

gpu::PlainWaveGlow::Sizes sizes_of(const models::WaveGlowOptions& o) {
  const auto n = [](int64_t size) { return static_cast<int>(size); };
  return {.n_mels = n(o.n_mels),
          .hop_length = n(o.hop_length),
          .n_flows = n(o.n_flows),
          .group_size = n(o.group_size),
          .early_every = n(o.early_every),
          .early_size = n(o.early_size),
          .upsample_kernel = n(o.upsample_kernel),
          .layers = n(o.wavenet_layers),
          .channels = n(o.wavenet_channels),
          .kernel = n(o.wavenet_kernel),
          .dilation_cycle = n(o.wavenet_dilation_cycle)};
}

namespace {

constexpr int kPasses[] = {GpuStream::kLongest, 32, 8, 1};

/// The options, where the kernels know them.
const models::WaveGlowOptions* known(const ModelOptions& options) {
  const auto* o = std::get_if<models::WaveGlowOptions>(&options);
  if (o == nullptr || o->conditioning != models::Conditioning::sample_rate || o->swap_odd_halves) return nullptr;
  return gpu::DeviceWaveGlow::unsupported(sizes_of(*o)).empty() ? o : nullptr;
}

class GpuSource : public StreamSource {
 public:
  explicit GpuSource(std::shared_ptr<const gpu::DeviceWaveGlow> model) : model_(std::move(model)) {}
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<GpuStream>(model_, std::move(noise), sigma);
  }
  int frames_at_once(int64_t /*given*/) const override { return GpuStream::kLongest; }

 private:
  std::shared_ptr<const gpu::DeviceWaveGlow> model_;
};

}  // namespace

std::shared_ptr<const StreamSource> gpu_source(const ModelOptions& options,
                                               const std::map<std::string, files::TensorView>& tensors) {
  if (!gpu::has_cuda() || known(options) == nullptr) return nullptr;
  return gpu_source(gpu::open_gpu(), options, tensors);
}

std::shared_ptr<const StreamSource> gpu_source(std::shared_ptr<gpu::Device> device, const ModelOptions& options,
                                               const std::map<std::string, files::TensorView>& tensors) {
  const auto* o = known(options);
  if (o == nullptr) return nullptr;
  return std::make_shared<GpuSource>(
      std::make_shared<gpu::DeviceWaveGlow>(std::move(device), plain_waveglow(*o, tensors)));
}

gpu::PlainWaveGlow plain_waveglow(const models::WaveGlowOptions& options,
                                  const std::map<std::string, files::TensorView>& tensors) {
  const Parameters p(tensors);
  return gpu::PlainWaveGlow::from(sizes_of(options), [&](const std::string& name) { return p.folded(name).floats(); });
}

GpuStream::GpuStream(std::shared_ptr<const gpu::DeviceWaveGlow> model, Noise noise, double sigma)
    : session_(std::move(model), {.frames = {std::begin(kPasses), std::end(kPasses)}}),
      noise_(std::move(noise)),
      sigma_(static_cast<float>(sigma)) {
  session_.open(0);
}

void GpuStream::add(std::span<const float> frames, std::vector<float>& out) {
  waiting_.insert(waiting_.end(), frames.begin(), frames.end());
  const auto bands = static_cast<size_t>(session_.model().sizes().n_mels);
  for (const int length : kPasses) {
    const auto n = static_cast<size_t>(length) * bands;
    while (waiting_.size() >= n) {
      mel_.assign(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
      waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
      z_.resize(static_cast<size_t>(length * session_.model().sizes().hop_length));
      const auto group = session_.model().sizes().group_size;
      noise_.fill(group, entered_ * session_.groups(1), session_.groups(length), z_);
      for (float& z : z_) z *= sigma_;
      entered_ += length;
      pass(length, out);
    }
  }
}

void GpuStream::finish(std::vector<float>& out) {
  session_.end(0, entered_);
  while (spoken_ < entered_ * session_.groups(1)) {  // what comes after the end is not looked at
    mel_.assign(static_cast<size_t>(kLongest * session_.model().sizes().n_mels), 0.0f);
    z_.assign(static_cast<size_t>(kLongest * session_.model().sizes().hop_length), 0.0f);
    pass(kLongest, out);
  }
}

void GpuStream::pass(int frames, std::vector<float>& out) {
  samples_.resize(z_.size());
  session_.pass(frames, mel_, z_, samples_);
  const auto ready = session_.ready(0);
  const auto group = session_.model().sizes().group_size;
  const auto* from = samples_.data() + ready.first * group;
  out.insert(out.end(), from, from + ready.count * group);
  spoken_ += ready.count;
}

}  // namespace melflow::engine
