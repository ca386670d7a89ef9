#include "tools/bench_waveglow.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/gpu/plain_waveglow.h"
#include "engine/kernels/thread_team.h"
#include "engine/synth/waveglow_stream.h"
#include "engine/synth/waveglow_weights.h"
#include "engine/tensors.h"
#include "models/waveglow.h"
#include "tools/inputs.h"

namespace melflow::tools {
namespace {

using engine::Precision;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

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
  /// Operations a second, of all the team's threads together.
  double peak() const {
    const auto& product = weights->kernels->product(weights->precision);
    constexpr long kRounds = 4'000'000;
    const auto begin = Clock::now();
    team->run([&](const engine::ThreadTeam::Member&) { product.peak(kRounds); });
    return static_cast<double>(team->size()) * kRounds * product.peak_operations / seconds_since(begin);
  }
};

/// The gate's products of every layer alone, on full tiles of random rows: operations a second.
double product_rate(const Run& run) {
  const auto& w = *run.weights;
  constexpr int kRows = engine::WaveGlowStream::kTileRows;
  const auto& product = w.kernels->product(w.precision);
  std::vector<std::vector<std::byte>> packed;
  std::vector<const std::byte*> rows;
  for (int r = 0; r < kRows; ++r) {
    std::vector<float> row(static_cast<size_t>(std::max(w.context_channels, w.channels)));
    for (size_t i = 0; i < row.size(); ++i) row[i] = engine::normal_at(4, r, static_cast<int64_t>(i));
    auto& out = packed.emplace_back(static_cast<size_t>(engine::row_bytes(w.precision, static_cast<int>(row.size()))));
    product.pack_row(row.data(), static_cast<int>(row.size()), out.data());
    rows.push_back(out.data());
  }
  const auto begin = Clock::now();
  run.team->run([&](const engine::ThreadTeam::Member& member) {
    engine::AlignedFloats sums(static_cast<size_t>(kRows * w.kernels->width));
    for (const auto& flow : w.flows) {
      for (const auto& layer : flow.layers) {
        member.share(layer.gate.panels(), kRows, w.kernels->row_block, [&](int panel, int a, int b) {
          for (int segment = 0; segment <= w.kernel; ++segment) {
            layer.gate.add(panel, segment, rows.data() + a, b - a, sums.data());
          }
        });
        member.meet();
      }
    }
  });
  const auto layers = static_cast<double>(w.flows.size() * w.flows.front().layers.size());
  return 2.0 * kRows * layers * 2 * w.channels * (w.context_channels + w.kernel * w.channels) / seconds_since(begin);
}

/// Signal over error, decibels, on a second of the mel.
double error_db(models::WaveGlow& model, const Run& run, std::span<const float> frames) {
  const auto& o = model.options();
  const auto part = frames.first(std::min(frames.size(), static_cast<size_t>(80 * o.n_mels)));
  const auto actual = engine::vector_tensor(run(part)).to(torch::kFloat64);
  torch::InferenceMode guard;
  const auto mel = engine::vector_tensor(part).view({1, -1, o.n_mels}).transpose(1, 2).contiguous();
  const auto z =
      engine::noise_tensor(engine::Noise(3), o.group_size, 0, mel.size(2) * (o.hop_length / o.group_size)) * 0.7;
  static const auto expected = model.inverse(z.to(torch::kFloat64), mel.to(torch::kFloat64)).value[0];
  return 10 * std::log10((expected.square().sum() / (actual - expected).square().sum()).item<double>());
}

/// What was measured between two peaks that agree, or why nothing is reported.
json measure(models::WaveGlow& model, const Run& run, std::span<const float> frames, const audio::MelOptions& recipe) {
  std::vector<double> times, peaks{run.peak()}, products;
  std::vector<float> sound;
  for (int i = 0; i < 3; ++i) {
    const auto begin = Clock::now();
    sound = run(frames);
    times.push_back(seconds_since(begin));
    for (int j = 0; j < 3; ++j) products.push_back(product_rate(run));
    peaks.push_back(run.peak());
  }
  std::sort(times.begin(), times.end());
  std::sort(products.begin(), products.end());
  const auto [low, high] = std::minmax_element(peaks.begin(), peaks.end());
  json row = {{"precision", engine::name_of(run.weights->precision)}, {"threads", run.team->size()}};
  if (*low < 0.95 * *high) {
    row["not_reported"] = "the machine's peak moved by " + std::to_string(std::lround(100 * (1 - *low / *high))) +
                          " % while this was measured";
    return row;
  }
  const double seconds = static_cast<double>(sound.size()) / recipe.sample_rate, median = times[1];
  const double groups = static_cast<double>(sound.size()) / run.weights->group_size;
  const double rate = gpu::PlainWaveGlow::Sizes{}.flops_per_group() * groups / median;  // of random_waveglow()'s size
  row.update({{"real_time_factor", seconds / median},
              {"best_real_time_factor", seconds / times.front()},
              {"giga_operations", rate * 1e-9},
              {"peak_giga_operations", *high * 1e-9},
              {"share_of_peak", rate / *high},
              {"products_share_of_peak", products[products.size() / 2] / *high},
              {"snr_db", error_db(model, run, frames)},
              {"packed_megabytes", static_cast<double>(run.weights->bytes()) * 1e-6}});
  return row;
}

}  // namespace

json bench_waveglow(double seconds, int threads) {
  const auto model = random_waveglow();
  const audio::MelOptions recipe;  // NVIDIA's
  const auto frames = sample_frames(recipe, seconds);
  std::vector<std::shared_ptr<const engine::WaveGlowWeights>> packed;
  for (const auto p : engine::kPrecisions)
    packed.push_back(
        std::make_shared<engine::WaveGlowWeights>(model->options(), engine::tensors_of(*model).views(), p));
  model->to(torch::kFloat64);
  json rows = json::array();
  for (const int count : std::set<int>{1, threads}) {
    const auto team = std::make_shared<engine::ThreadTeam>(count);
    for (const auto& weights : packed) rows.push_back(measure(*model, {weights, team}, frames, recipe));
  }
  return {
      {"bench", "waveglow"}, {"kernels", packed.front()->kernels->name}, {"seconds_of_sound", seconds}, {"rows", rows}};
}

}  // namespace melflow::tools
