#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/kernels/thread_team.h"
#include "engine/model_config.h"
#include "engine/model_voice.h"
#include "engine/synth/gpu_stream.h"
#include "engine/train/trainer.h"
#include "models/autocast.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/signals.h"
#include "tools/cli/with_torch.h"

namespace melflow::tools {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// A folder that goes with its owner.
class Folder {
 public:
  Folder() {
    const char* chosen = std::getenv("TMPDIR");
    auto name = (fs::path(chosen != nullptr ? chosen : "/tmp") / "melflow-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      throw Error(Exit::cannot_create, name + ": a folder for the training cannot be made (" + std::strerror(errno) +
                                           "); set TMPDIR to another");
    }
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

constexpr int64_t kWarmUp = 3;  // steps

/// What is trained: a model by its configuration, from a voice's weights or from random ones.
struct Subject {
  std::string name;
  json model;
  std::optional<engine::ModelVoice> start;
};

engine::TrainConfig config_of(const Subject& subject, const TrainBench& o) {
  const auto set = [](const std::string& key, auto value) { return key + "=" + std::to_string(value); };
  return engine::parse_train_config(
      {{"model", subject.model}, {"train", {{"precision", o.bf16 ? "bf16" : "fp32"}}}},
      {set("steps", kWarmUp + o.steps + 1), set("batch_size", o.batch), set("segment_frames", o.frames),
       "learning_rate=1e-4", "final_learning_rate=1e-4", "warmup_steps=0", "level=0", "dequantise=0",
       "hold_out_every=0", "validation_every=0", "checkpoint_every=0", "sample_every=0", "log_every=1"},
      "melflow bench train");
}

/// Operations of a crop forward: WaveGlow's as published; it needs no frames to warm up.
double crop_operations(const models::WaveGlowOptions& o, int64_t frames, int64_t /*warmup_frames*/) {
  return static_cast<double>(frames * o.hop_length) / static_cast<double>(o.group_size) *
         engine::sizes_of(o).flops_per_group();
}

/// The same of a BlockFlow: its layers, with the frames that warm it up.
double crop_operations(const models::BlockFlowOptions& o, int64_t frames, int64_t warmup_frames) {
  double a_frame = 0;
  for (const auto& [name, shape] : o.tensors()) {
    if (shape.sizes.size() < 2 || !shape.trained) continue;
    double numbers = 2;
    for (const auto size : shape.sizes) numbers *= static_cast<double>(size);
    const bool by_block = name.starts_with("past") || name.starts_with("layer_") || name.starts_with("out");
    a_frame += numbers * (by_block ? static_cast<double>(o.hop_length) / static_cast<double>(o.group_size) : 1);
  }
  return a_frame * static_cast<double>(frames + warmup_frames);
}

/// Operations of a step, forward and twice that backward.
double operations(const engine::ModelOptions& options, const engine::TrainConfig& config, int64_t warmup_frames) {
  const double forward =
      std::visit([&](const auto& o) { return crop_operations(o, config.segment_frames, warmup_frames); }, options);
  return 3 * static_cast<double>(config.batch_size) * forward;
}

std::shared_ptr<engine::Corpus> corpus_of(const TrainBench& o, const engine::TrainConfig& config) {
  return engine::load_corpus({o.data.empty() ? data_folder() / "golden" : fs::path(o.data)}, config,
                             [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
}

/// What a GPU's matrix units give in practice: one large product in bfloat16.
Peak matrix_peak(const torch::Device& device) {
  constexpr int64_t kSize = 8192;
  constexpr int kRounds = 10;
  const auto a = torch::randn({kSize, kSize}).to(device, torch::kBFloat16), b = a.t().contiguous();
  const auto once = [a, b] {
    Times times;
    for (int i = 0; i < kRounds; ++i) {
      times.take([&] { torch::matmul(a, b).select(0, 0).sum().item<float>(); });  // waits for it
    }
    return 2.0 * kSize * kSize * kSize / times.min();
  };
  once();
  return {"a bf16 product of 8192 x 8192 x 8192 by LibTorch", once};
}

/// The largest relative error of a parameter's gradient, on a short crop, against the plain formulas in double.
double gradient_error(models::Vocoder& model, const TrainBench& o, engine::TrainConfig config) {
  model.eval();
  config.batch_size = 1;
  config.segment_frames = 8;
  const auto feed = engine::training_feed(corpus_of(o, config), config, model.warmup_frames(),
                                          model.reach().lookahead_frames, /*rank=*/0, /*ranks=*/1);
  const auto [x, mel, seeds] = engine::batch_of(feed->take(0)).to(model.parameters().front().device());
  const auto gradients = [&, &x = x, &mel = mel](torch::ScalarType type) {
    model.to(type);
    const auto z = [&, &x = x, &mel = mel] {  // as in training, gradients are not cast again
      const models::Autocast precision(x.device().type(), {.on = o.bf16 && type == torch::kFloat32});
      return model.forward(x.to(type), mel.to(type));
    }();
    const auto loss = models::nats_by_group(z, model.group_size()).mean();
    return torch::autograd::grad({loss}, model.parameters(), {}, {}, false, /*allow_unused=*/true);
  };
  const auto actual = gradients(torch::kFloat32), expected = gradients(torch::kFloat64);
  model.to(torch::kFloat32);
  double worst = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!expected[i].defined() || expected[i].norm().item<double>() == 0) continue;
    const auto error = (actual[i].to(torch::kFloat64) - expected[i]).norm() / expected[i].norm();
    worst = std::max(worst, error.item<double>());
  }
  return worst;
}

/// So many steps of the trainer behind those that warm up: how long each took.
Times run_steps(engine::Trainer& trainer, int64_t count) {
  Times steps;
  std::optional<std::chrono::steady_clock::time_point> begin;
  trainer.run(
      [&] {  // asked before each step; what follows the last, saving, is none
        if (begin && trainer.step() > kWarmUp && trainer.step() <= kWarmUp + count) steps.add(seconds_since(*begin));
        begin = std::chrono::steady_clock::now();
        return trainer.step() == kWarmUp + count || stop_requested();
      },
      [](const engine::Progress&) {});
  return steps;
}

/// Of every step, as the run has logged them.
std::vector<double> losses_of(const fs::path& run) {
  std::vector<double> losses;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto point = json::parse(line);
    if (point.contains("loss") && point["loss"].is_number()) losses.push_back(point["loss"]);
  }
  return losses;
}

/// Null where a signal came.
json measure(const Subject& subject, const TrainBench& o, const fs::path& run) {
  const int threads = engine::threads_for(o.threads);
  use_threads(threads);
  const auto config = config_of(subject, o);
  const auto device = engine::open_device(o.device);
  engine::Trainer trainer(config, corpus_of(o, config), run, /*resume=*/false, /*processes=*/nullptr, device);
  if (subject.start) {
    trainer.start_from(*subject.start);
  } else {
    torch::NoGradGuard no_grad;  // a coupling that starts as the identity would hide errors behind it
    for (auto& p : trainer.model().named_parameters()) {
      if (p.key().ends_with("net.end.weight")) p.value().normal_(0, 0.01);
    }
  }
  const double error = gradient_error(trainer.model(), o, config);
  Measurement measurement("train",
                          {{"model", subject.name},
                           {"device", o.device},
                           {"precision", o.bf16 ? "bf16" : "fp32"},
                           {"threads", threads},
                           {"batch", o.batch},
                           {"samples_a_crop", config.segment_frames * config.mel.hop_length}},
                          device.is_cpu()
                              ? multiply_add_peak(o.bf16 ? cpu::Precision::bf16 : cpu::Precision::fp32, threads)
                              : matrix_peak(device));
  const auto steps = run_steps(trainer, o.steps);
  if (stop_requested()) return nullptr;
  measurement.look();
  const double samples = static_cast<double>(o.batch * config.segment_frames * config.mel.hop_length);
  const double rate =
      operations(engine::parse_model_options(config.model, "bench"), config, trainer.model().warmup_frames()) /
      steps.median();
  return measurement.report(
      {{"seconds", steps.json()},
       {"samples_per_second", samples / steps.median()},
       {"giga_operations", 1e-9 * rate},
       {"share_of_peak", rate / measurement.peak()},
       {"losses", losses_of(run)}},
      nullptr,  // tools/bench_rivals --train runs PyTorch on the same weights and crops
      {{"what", "largest relative error of a weight's gradient against the plain formulas in double"},
       {"value", error}});
}

}  // namespace

void bench_train(const TrainBench& options, const Print& print) {
  catch_signals("stopping when this step is done; once more: at once");
  std::vector<Subject> subjects;
  if (options.voice.empty()) {
    const engine::VoiceFile shipped(find_voice(""));
    subjects.push_back({shipped.voice().name, shipped.voice().model_config, {}});
    subjects.push_back({"WaveGlow of 128 channels", {{"system", "waveglow"}, {"wavenet_channels", 128}}, {}});
  } else {
    auto voice = engine::load_voice(find_voice(options.voice));
    subjects.push_back({voice.name, voice.model_config, voice});
  }
  for (size_t i = 0; i < subjects.size(); ++i) {
    const Folder folder;
    if (const auto line = measure(subjects[i], options, folder.path() / std::to_string(i)); !line.is_null())
      print(line);
    if (stop_requested()) break;
  }
  release_signals();  // of other subjects none looks
}

}  // namespace melflow::tools
