#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <optional>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/device.h"
#include "engine/files/mel_file.h"
#include "engine/train/nccl.h"
#include "engine/train/run_folder.h"
#include "engine/train/trainer.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/signals.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

/// Fine-tuning changes nothing that it is not told to: what the configuration leaves out is the voice's. NVIDIA's own
/// configuration leaves nothing out.
void begin_as(const engine::Voice& voice, nlohmann::json& config) {
  if (!config.is_object() || config.contains("waveglow_config")) return;
  if (!config.contains("model")) config["model"] = voice.model_config;
  const auto complete = [&](const char* section, const nlohmann::json& theirs) {
    auto& ours = config[section];
    for (const auto& [key, value] : theirs.items()) {
      if ((ours.is_null() || ours.is_object()) && !ours.contains(key)) ours[key] = value;
    }
  };
  complete("mel", nlohmann::json::parse(files::recipe_as_json(voice.mel)));
  complete("train", {{"level", voice.level}, {"sigma", voice.sigma}, {"draws", voice.draws}, {"refine", voice.refine}});
}

/// Opens the recordings and says what there is; of several processes, the first speaks.
std::shared_ptr<engine::Corpus> open_corpus(const std::vector<std::string>& data, const engine::TrainConfig& config,
                                            bool first) {
  auto corpus = engine::load_corpus({data.begin(), data.end()}, config, [first](const std::string& line) {
    if (first) std::fprintf(stderr, "left out: %s\n", line.c_str());
  });
  if (!first) return corpus;
  std::fprintf(stderr, "%ld recordings, %s; %ld kept out; gain %.3f\n", static_cast<long>(corpus->training_clips()),
               clock_text(corpus->seconds()).c_str(), static_cast<long>(corpus->held_out_clips()), corpus->gain());
  if (!config.mels && corpus->mels_beside() > 0) {
    std::fprintf(stderr, "%ld recordings have a mel beside them, which is not used; --set mels=true does\n",
                 static_cast<long>(corpus->mels_beside()));
  }
  return corpus;
}

std::string progress_text(const engine::Progress& p) {
  char text[160];
  std::snprintf(text, sizeof text, "step %ld/%ld  loss %.4f  %.0f samples/s  data wait %.1f %%  %s left",
                static_cast<long>(p.step), static_cast<long>(p.steps), p.loss, p.items_per_second, 100 * p.data_wait,
                clock_text(p.seconds_left).c_str());
  return text;
}

struct VocoderTraining {
  std::vector<std::string> data, sets;
  std::string out, config, init, network, device = "cpu";
  bool resume = false;
  int threads = 0;
};

VocoderTraining vocoder_training(CLI::App& app, std::vector<std::string> arguments) {
  VocoderTraining a;
  app.add_option("--data", a.data, "folders of recordings, any format, any rate, and of .tar shards; or such files")
      ->required();
  app.add_option("-o,--out", a.out, "folder of the run")->required()->check(run_folder());
  app.add_option("--config", a.config, "JSON; NVIDIA's config.json is understood too");
  app.add_option(
      "--set", a.sets,
      "key=value over the configuration: steps=1000, model.wavenet_channels=128, mel.n_mels=80; RUN/config.json "
      "lists all keys");
  app.add_option(
         "--init", a.init,
         "voice to begin with, ours or a published one; model, mel recipe and level are the voice's. Of a block_flow, "
         "--set model.hidden=… model.layers=… model.encoder_channels=… may be larger: the voice grows")
      ->check(named());
  app.add_option("--network", a.network,
                 "interface over which several processes talk, open to all who reach it; left out: only this machine");
  app.add_option("--device", a.device,
                 "cpu or cuda; with several processes, a GPU each; --resume may use the other device");
  app.add_flag("--resume", a.resume, "go on with the run that is in --out");
  add_threads(app, a.threads);
  parse(app, std::move(arguments));
  return a;
}

void tell_end(const engine::Trainer& trainer, double seconds, const std::string& out) {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::fprintf(stderr,
               "%s at step %ld, %ld steps left out, data wait %.1f %%, %ld MB at most; voice in %s/voice.safetensors\n",
               trainer.finished() ? "done" : "stopped", static_cast<long>(trainer.step()),
               static_cast<long>(trainer.skipped_steps()), 100 * trainer.data_wait_seconds() / std::max(seconds, 1e-3),
               used.ru_maxrss / 1024, one_line(out).c_str());
}

/// What the others exit by where one of several processes is told to stop: as if SIGTERM had come to all.
constexpr int kStoppedByAnother = 128 + SIGTERM;

}  // namespace

int run_train(CLI::App& app, std::vector<std::string> arguments) {
  const auto a = vocoder_training(app, std::move(arguments));
  use_threads(a.threads);
  const auto place = engine::process_place();
  const auto where = engine::open_device(a.device, place ? place->local_rank : 0);
  std::optional<engine::Processes> processes;
  if (place) processes.emplace(*place, a.network, where.is_cuda() ? engine::nccl_sums() : engine::DeviceSums{});
  const bool first = !processes || processes->rank() == 0;

  // A resumed run goes on with its own configuration, unless told otherwise. A launcher starts again what it started.
  const auto stored = engine::config_path(a.out).string();
  const bool again = engine::launchers_round() != "0" && engine::RunFolder::is_of_this_launch(a.out);
  const bool resume = a.resume || (again && std::filesystem::exists(stored));
  const auto config_path = a.config.empty() && resume ? stored : a.config;
  auto json = config_path.empty() ? nlohmann::json::object() : read_json(config_path);
  std::optional<engine::ModelVoice> start;
  if (!a.init.empty()) {
    start = engine::load_voice(find_voice(a.init));
    begin_as(*start, json);
  }
  if (resume || start) engine::require_same_system(json, a.sets, start ? a.init : config_path);
  const auto config = engine::parse_train_config(json, a.sets, config_path.empty() ? "--set" : config_path);

  if (first) engine::RunFolder::require_free(a.out, resume);
  const auto corpus = open_corpus(a.data, config, first);
  catch_signals(kAfterThisStep);
  engine::Trainer trainer(config, corpus, a.out, resume, processes ? &*processes : nullptr, where);
  if (start) trainer.start_from(*start);
  if (first && resume && trainer.step() == 0 && !start)
    std::fprintf(stderr, "no checkpoint is there: beginning anew; a run that began with --init wants it again\n");
  if (first) {
    tell_going_on(trainer.step(), trainer.data_changed(),
                  start ? ", with the run's own weights: --init was its beginning" : "");
  }
  ProgressLine line;
  const auto begin = std::chrono::steady_clock::now();
  trainer.run(stop_requested, [&](const engine::Progress& p) { line.show(progress_text(p)); });
  if (processes) processes->leave();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  if (first) tell_end(trainer, taken.count(), a.out);
  if (trainer.finished()) require_learned(trainer.step(), trainer.skipped_steps(), a.out);
  const int code = signal_exit_code();
  return code != 0 || trainer.finished() ? code : kStoppedByAnother;
}

}  // namespace melflow::tools
