#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include <torch/torch.h>

#include "audio/quality.h"
#include "engine/gpu/plain_waveglow.h"
#include "engine/kernels/thread_team.h"
#include "engine/synth/waveglow_stream.h"
#include "engine/synth/waveglow_weights.h"
#include "engine/tensors.h"
#include "models/waveglow.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"
#include "tools/cli/with_torch.h"

namespace melflow::tools {
namespace {

using cpu::Precision;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// Published size. The couplings must do something, else an error in them would not be heard.
std::shared_ptr<models::WaveGlow> random_waveglow() {
  torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  auto model = std::make_shared<models::WaveGlow>(models::WaveGlowOptions{});
  for (auto& p : model->named_parameters()) {
    if (p.key().find("end.weight") != std::string::npos) p.value().normal_(0, 0.01);
  }
  return model;
}

struct Run {
  std::shared_ptr<const engine::WaveGlowWeights> weights;
  std::shared_ptr<engine::ThreadTeam> team;

  std::vector<float> operator()(std::span<const float> frames) const {
    engine::WaveGlowStream stream(weights, team, engine::Noise(3), 0.7);
    std::vector<float> out;
    stream.add(frames, out);
    stream.finish(out);
    return out;
  }
};

/// The gate's products of every layer alone, on full tiles of random rows: operations a second.
double product_rate(const Run& run) {
  const auto& w = *run.weights;
  const int n_rows = w.kernels->tile_rows;
  const auto& product = w.kernels->product(w.precision);
  const int depth = std::max(w.context_channels, w.channels), bytes = cpu::row_bytes(w.precision, depth);
  cpu::AlignedFloats packed(static_cast<size_t>(n_rows) * static_cast<size_t>(bytes) / 4);
  std::vector<const std::byte*> rows;
  for (int r = 0; r < n_rows; ++r) {
    std::vector<float> row(static_cast<size_t>(depth));
    for (int i = 0; i < depth; ++i) row[static_cast<size_t>(i)] = engine::normal_at(4, r, i);
    auto* out = reinterpret_cast<std::byte*>(packed.data()) + static_cast<ptrdiff_t>(r) * bytes;
    product.pack_row(row.data(), depth, out);
    rows.push_back(out);
  }
  const auto begin = Clock::now();
  run.team->run([&](const engine::ThreadTeam::Member& member) {
    cpu::AlignedFloats sums(static_cast<size_t>(n_rows * w.kernels->width));
    for (const auto& flow : w.flows) {
      for (const auto& layer : flow.layers) {
        member.share(layer.gate.panels(), n_rows, layer.gate.row_block(), [&](int panel, int a, int b) {
          layer.gate.add(panel, {0, w.kernel + 1, rows.data() + a, 0}, b - a, sums.data());
        });
        member.meet();
      }
    }
  });
  const auto layers = static_cast<double>(w.flows.size() * w.flows.front().layers.size());
  return 2.0 * n_rows * layers * 2 * w.channels * (w.context_channels + w.kernel * w.channels) / seconds_since(begin);
}

/// The model's own answers to the first second of the frames, and the noise they were made of.
struct Exact {
  torch::Tensor mel, z;   ///< float32
  torch::Tensor samples;  ///< float64

  Exact(models::WaveGlow& model, std::span<const float> frames) {
    torch::NoGradGuard guard;
    const auto& o = model.options();
    const auto part = frames.first(std::min(frames.size(), static_cast<size_t>(87 * o.n_mels)));
    mel = engine::vector_tensor(part).view({1, -1, o.n_mels}).transpose(1, 2).contiguous();
    z = engine::noise_tensor(engine::Noise(3), o.group_size, 0, mel.size(2) * (o.hop_length / o.group_size)) * 0.7;
    model.to(torch::kFloat64);
    samples = model.inverse(z.to(torch::kFloat64), mel.to(torch::kFloat64)).value[0];
    model.to(torch::kFloat32);
  }
  size_t count() const { return static_cast<size_t>(mel.numel()); }

  /// How far off a run is on them.
  json error(const Run& run, std::span<const float> frames, const audio::MelOptions& recipe) const {
    const auto sound = run(frames.first(count()));
    const auto difference = engine::vector_tensor(sound).to(torch::kFloat64) - samples;
    const auto snr = 10 * std::log10((samples.square().sum() / difference.square().sum()).item<double>());
    const audio::Waveform reference{engine::tensor_vector(samples.to(torch::kFloat32)), recipe.sample_rate};
    return {{"what", "the first second, against the model in double"},
            {"snr_db", snr},
            {"log_stft", audio::compare(reference, {sound, recipe.sample_rate}, recipe).log_stft}};
  }
};

json measure(models::WaveGlow& model, const Exact& exact, const Run& run, std::span<const float> frames,
             const audio::MelOptions& recipe) {
  const int threads = run.team->size();
  const double seconds = static_cast<double>(frames.size()) / recipe.n_mels * recipe.hop_length / recipe.sample_rate;
  Measurement measurement("waveglow",
                          {{"weights", "random, of the published size"},
                           {"precision", cpu::name_of(run.weights->precision)},
                           {"threads", threads},
                           {"seconds_of_sound", seconds}},
                          multiply_add_peak(run.weights->precision, threads));
  Times times, plain;
  std::vector<double> products;
  use_threads(threads);
  for (int i = 0; i < 3; ++i) {
    times.take([&] { run(frames); });
    for (int j = 0; j < 3; ++j) products.push_back(product_rate(run));
    measurement.look();
    if (run.weights->precision == cpu::Precision::fp32) {
      torch::InferenceMode guard;
      plain.take([&] { model.inverse(exact.z, exact.mel); });
    }
  }
  std::sort(products.begin(), products.end());
  const double groups = seconds * recipe.sample_rate / run.weights->group_size;
  const double rate = gpu::PlainWaveGlow::Sizes{}.flops_per_group() * groups / times.median();  // of random_waveglow()
  json rival;
  if (run.weights->precision == cpu::Precision::fp32) {
    const auto sound = static_cast<double>(exact.samples.numel()) / recipe.sample_rate;
    rival = {{"what", "the plain model in LibTorch, float32, the first second"},
             {"seconds", plain.json()},
             {"real_time_factor", sound / plain.median()}};
  }
  return measurement.report({{"seconds", times.json()},
                             {"real_time_factor", seconds / times.median()},
                             {"best_real_time_factor", seconds / times.min()},
                             {"giga_operations", rate * 1e-9},
                             {"share_of_peak", rate / measurement.peak()},
                             {"products_share_of_peak", products[products.size() / 2] / measurement.peak()},
                             {"packed_megabytes", static_cast<double>(run.weights->bytes()) * 1e-6}},
                            rival, exact.error(run, frames, recipe));
}

}  // namespace

void bench_waveglow(double seconds, int threads, const Print& print) {
  const auto model = random_waveglow();
  const audio::MelOptions recipe;  // NVIDIA's
  const auto frames = sample_frames(recipe, seconds);
  std::vector<std::shared_ptr<const engine::WaveGlowWeights>> packed;
  for (const auto p : cpu::kPrecisions)
    packed.push_back(
        std::make_shared<engine::WaveGlowWeights>(model->options(), engine::tensors_of(*model).views(), p));
  const Exact exact(*model, frames);
  for (const int count : std::set<int>{1, threads}) {
    const auto team = std::make_shared<engine::ThreadTeam>(count);
    for (const auto& weights : packed) print(measure(*model, exact, {weights, team}, frames, recipe));
  }
}

}  // namespace melflow::tools
