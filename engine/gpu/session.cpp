#include "engine/gpu/session.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "engine/gpu/context_kernel.h"
#include "engine/gpu/gate_kernel.h"
#include "engine/gpu/output_kernel.h"
#include "engine/gpu/row_kernels.h"

namespace melflow::gpu {
namespace {

// Half of what times may be, so that shifts and lags stay in range: 108 hours of sound at 22,050 Hz in groups of 8.
constexpr int32_t kEndless = std::numeric_limits<int32_t>::max() / 2;

constexpr int64_t kMostRows = int64_t{65535} * CoupleKernel::kRows;  // blocks in a column of CUDA's grids

void require(bool is_so, const char* contract) {
  if (!is_so) throw Error(Exit::internal, std::string("gpu::Session: ") + contract);
}

}  // namespace

template <typename T>
Buffer<T> Session::rows(int64_t count, int stride) {
  Buffer<T> out(device_,
                static_cast<size_t>(options_.slots) * static_cast<size_t>(count) * static_cast<size_t>(stride));
  state_bytes_ += out.bytes();
  return out;
}

template <typename T, typename U>
Ring<T> Session::ring(const Buffer<U>& buffer, int stride) const {
  const auto rows = buffer.size() / static_cast<size_t>(options_.slots) / static_cast<size_t>(stride);
  return {buffer.data(), static_cast<int32_t>(rows), stride};
}

Session::Session(std::shared_ptr<const DeviceWaveGlow> model, const Options& options)
    : model_(std::move(model)),
      device_(model_->device()),
      options_(options),
      slots_(static_cast<size_t>(options.slots)),
      ready_(slots_.size()) {
  const auto& s = model_->sizes();
  const int most = *std::max_element(options.frames.begin(), options.frames.end());
  require(options.slots > 0 && int64_t{options.slots} * groups(most) <= kMostRows,
          "more rows a pass than a launch has");
  const int64_t count = groups(most), per_frame = s.groups_per_frame();
  device_slots_ = Buffer<Slot>(device_, slots_.size());
  mel_ = rows<float>(most, s.n_mels);
  z_ = rows<float>(count, s.group_size);
  samples_ = rows<float>(count, s.group_size);
  mel_high_ = rows<Bf16>(most + s.upsample_taps() - 1, model_->mel_stride());
  mel_low_ = rows<Bf16>(most + s.upsample_taps() - 1, model_->mel_stride());
  noise_ = rows<float>(count + model_->lag(), 8);
  context_ = rows<Bf16>((count + model_->lag() + per_frame - 1) / per_frame * per_frame, model_->context_stride());
  activation_ = rows<Bf16>(count, model_->stride());
  for (const auto& flow : model_->flows()) {
    FlowState state{{}, rows<float>(count + flow.side, 8), rows<float>(count + flow.side, 8)};
    for (const auto& layer : flow.layers) state.x.push_back(rows<Bf16>(count + 2 * layer.side, model_->stride()));
    flows_.push_back(std::move(state));
  }
}

void Session::open(int slot) {
  slots_.at(static_cast<size_t>(slot)) = {0, kEndless};
  ready_[static_cast<size_t>(slot)] = {};
}
void Session::end(int slot, int64_t frames) {
  const int64_t total = frames * model_->sizes().groups_per_frame();
  require(total <= kEndless, "a stream is too long");
  slots_.at(static_cast<size_t>(slot)).total = static_cast<int32_t>(total);
}
void Session::close(int slot) {
  slots_.at(static_cast<size_t>(slot)) = {0, 0};
  ready_[static_cast<size_t>(slot)] = {};
}

Session::Ready Session::ready(int slot) const { return ready_.at(static_cast<size_t>(slot)); }

void Session::pass(int frames, std::span<const float> mel, std::span<const float> z, std::span<float> samples) {
  put(frames, mel, z);
  compute(frames);
  take(frames, samples);
}

void Session::put(int frames, std::span<const float> mel, std::span<const float> z) {
  const size_t slots = slots_.size(), count = static_cast<size_t>(groups(frames));
  require(std::find(options_.frames.begin(), options_.frames.end(), frames) != options_.frames.end(),
          "a pass of a length that was not asked for");
  require(mel.size() == slots * static_cast<size_t>(frames * model_->sizes().n_mels), "wrong number of mel values");
  require(z.size() == slots * count * static_cast<size_t>(model_->sizes().group_size), "wrong number of z values");
  device_->upload(mel_.data(), mel.data(), mel.size_bytes());
  device_->upload(z_.data(), z.data(), z.size_bytes());
}

void Session::compute(int frames) {
  auto& recording = recordings_[frames];
  if (!recording) {
    kernels_ = 0;
    recording = device_->record([&] { launch(frames); });
  }
  device_->upload(device_slots_.data(), slots_.data(), slots_.size() * sizeof(Slot));
  device_->replay(*recording);
  for (size_t i = 0; i < slots_.size(); ++i) {
    auto& slot = slots_[i];
    if (slot.total == 0) continue;
    const int32_t count = groups(frames), from = slot.position - model_->lag();
    const int32_t begin = std::clamp(from, 0, slot.total), end = std::clamp(from + count, 0, slot.total);
    ready_[i] = {begin - from, end - begin, begin};
    slot.position += count;
    require(slot.position < kEndless, "a stream is too long");
  }
}

void Session::take(int frames, std::span<float> samples) {
  const int count = groups(frames);
  require(samples.size() == slots_.size() * static_cast<size_t>(count * model_->sizes().group_size),
          "wrong number of samples");
  device_->download(samples.data(), samples_.data(), samples.size_bytes());
}

Rows Session::at(int frames, int lag) const { return {device_slots_.data(), options_.slots, groups(frames), lag, 1}; }

void Session::launch(int frames) {
  const auto& s = model_->sizes();
  const Rows frame_rows{device_slots_.data(), options_.slots, frames, 0, s.groups_per_frame()};
  device_->launch(EnterArgs{.rows = at(frames, 0),
                            .frames = frame_rows,
                            .mel = mel_.data(),
                            .n_mels = s.n_mels,
                            .mel_high = ring<Bf16>(mel_high_, model_->mel_stride()),
                            .mel_low = ring<Bf16>(mel_low_, model_->mel_stride()),
                            .z = z_.data(),
                            .group_size = s.group_size,
                            .noise = ring<float>(noise_, 8)});
  ++kernels_;
  launch_context(frames);
  int lag = 0;
  launch_couple(frames, 0, lag);
  for (size_t f = 0; f < flows_.size(); ++f) {
    lag = launch_flow(frames, f, lag);
    launch_couple(frames, f + 1, lag);
  }
}

void Session::launch_context(int frames) {
  const auto& s = model_->sizes();
  const int taps = s.upsample_taps(), steps = depth_steps(s.n_mels);
  Product p{.rows = {device_slots_.data(), options_.slots, frames, 0, s.groups_per_frame()},
            .sources = {},
            .steps = 2 * taps * steps,
            .weights = model_->upsample(),
            .columns = s.groups_per_frame() * model_->context_stride(),
            .side = nullptr};
  for (int q = 0; q < 2 * taps; ++q) {
    const auto& part = q < taps ? mel_high_ : mel_low_;
    p.sources[q] = {ring<const Bf16>(part, model_->mel_stride()), model_->mel_stride(), q % taps - taps + 1, steps};
  }
  device_->launch(ContextArgs{.product = p,
                              .bias = model_->upsample_bias(),
                              .context = ring<Bf16>(context_, model_->context_stride()),
                              .groups = s.groups_per_frame()},
                  options_.shape);
  ++kernels_;
}

/// Behind flow `before` - 1, in front of flow `before`.
void Session::launch_couple(int frames, size_t before, int lag) {
  const auto& s = model_->sizes();
  CoupleArgs a{};
  a.rows = at(frames, lag);
  a.first = before == 0;
  a.last = before == flows_.size();
  a.noise = ring<const float>(noise_, 8);
  if (a.first) {
    a.early = model_->flows().front().channels;
    a.early_at = s.group_size - a.early;
  } else {
    const auto& flow = model_->flows()[before - 1];
    const auto& state = flows_[before - 1];
    a.latent = ring<const float>(state.latent, 8);
    a.change = ring<const float>(state.change, 8);
    a.end_bias = flow.end_bias;
    a.inverse = flow.inverse;
    a.channels = flow.channels;
    a.kept = flow.kept;
    a.early = flow.early;
    a.early_at = flow.early_at;
  }
  if (a.last) {
    a.samples = samples_.data();
  } else {
    const auto& flow = model_->flows()[before];
    a.next = ring<float>(flows_[before].latent, 8);
    a.start = flow.start;
    a.next_kept = flow.kept;
    a.x = ring<Bf16>(flows_[before].x.front(), model_->stride());
  }
  device_->launch(a);
  ++kernels_;
}

/// → the lag behind it.
int Session::launch_flow(int frames, size_t index, int lag) {
  const auto& flow = model_->flows()[index];
  const auto& state = flows_[index];
  const int stride = model_->stride(), context_steps = depth_steps(model_->context_stride()),
            steps = depth_steps(stride);
  // A ring of just the rows of this pass: the same rows are written and read.
  const Ring<Bf16> activation{activation_.data(), groups(frames), stride};
  for (size_t i = 0; i < flow.layers.size(); ++i) {
    const auto& layer = flow.layers[i];
    lag += layer.side;
    const auto x = ring<const Bf16>(state.x[i], stride);
    Product gate{.rows = at(frames, lag),
                 .sources = {},
                 .steps = context_steps + model_->sizes().kernel * steps,
                 .weights = layer.gate,
                 .columns = 2 * stride,
                 .side = nullptr};
    gate.sources[0] = {ring<const Bf16>(context_, model_->context_stride()), model_->context_stride(), 0,
                       context_steps};
    for (int k = 0; k < model_->sizes().kernel; ++k) {
      gate.sources[1 + k] = {x, stride, (k - model_->sizes().kernel / 2) * layer.dilation, steps};
    }
    device_->launch(GateArgs{.product = gate, .bias = layer.gate_bias, .activation = activation}, options_.shape);

    const bool last = i + 1 == flow.layers.size();
    Product output{.rows = at(frames, lag),
                   .sources = {},
                   .steps = steps,
                   .weights = layer.residual,
                   .columns = last ? 0 : stride,
                   .side = layer.skip};
    output.sources[0] = {{activation_.data(), groups(frames), stride}, stride, 0, steps};
    device_->launch(OutputArgs{.product = output,
                               .bias = layer.residual_bias,
                               .before = x,
                               .after = last ? Ring<Bf16>{nullptr, 1, stride} : ring<Bf16>(state.x[i + 1], stride),
                               .change = ring<float>(state.change, 8),
                               .first = i == 0},
                    options_.shape);
    kernels_ += 2;
  }
  return lag;
}

}  // namespace melflow::gpu
