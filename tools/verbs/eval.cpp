#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/refine.h"
#include "base/error.h"
#include "engine/device.h"
#include "engine/eval/evaluator.h"
#include "engine/eval/html_report.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/signals.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

/// Recordings whose sounds a page carries; each is about a megabyte of it.
constexpr size_t kSoundsOnPage = 24;

struct EvalArguments {
  std::string voice, html, device = "cpu";
  std::vector<std::string> data;
  engine::EvalOptions options;
  engine::RecordingChoice choice;
  bool as_json = false, force = false;
  int threads = 0;
};

EvalArguments eval_arguments(CLI::App& app, std::vector<std::string> arguments) {
  EvalArguments a;
  add_voice(app, a.voice);
  app.add_option("--data", a.data, "folders of recordings, any format, any rate, and of .tar shards; or such files")
      ->required();
  app.add_option("--html", a.html, "write one page with tables, players and pictures");
  app.add_flag("--json", a.as_json,
               "one JSON object on stdout instead of the table, with the numbers of each recording");
  app.add_option("--hold-out-every", a.choice.hold_out_every,
                 "only what a training with this number and the same --data kept out")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_option("--limit", a.choice.limit, "no more than so many recordings; 0: all")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_option("--sigma", a.options.sigma, "standard deviation of the noise; default: the voice's own")
      ->check(within(0.0, 10.0));
  app.add_option("--seed", a.options.seed, "seed of the noise")->check(seeds());
  app.add_option("--draws", a.options.draws,
                 "candidates of noise for each block, as in synth; default: the voice's own")
      ->check(CLI::Range(int64_t{1}, engine::kMostDraws));
  app.add_option("--refine", a.options.refine,
                 "passes that bring the sound nearer to the mel, as in synth; default: the voice's own")
      ->check(CLI::Range(0, audio::RefineOptions::kMostPasses));
  app.add_option("--denoise", a.options.denoise, "strength of the denoiser; 0: none")->check(within(0.0, 100.0));
  app.add_option("--device", a.device, "cpu or cuda");
  add_threads(app, a.threads);
  app.add_flag("--force", a.force, "overwrite the outputs");
  parse(app, std::move(arguments));
  if (!a.html.empty()) a.options.keep_sounds = kSoundsOnPage;
  return a;
}

void write(std::optional<AtomicFile>& file, const std::string& text) {
  if (!file) return;
  file->write(std::as_bytes(std::span(text)));
  file->commit();
}

std::string cell(double value) {
  char text[32] = "-";
  if (std::isfinite(value)) std::snprintf(text, sizeof text, "%.4f", value);
  return text;
}

void print_table(const engine::Evaluation& evaluation) {
  const auto voice = evaluation.mean(&engine::EvalItem::voice);
  const auto floor = evaluation.mean(&engine::EvalItem::griffin_lim);
  const auto noise = evaluation.mean(&engine::EvalItem::refined_noise);
  std::printf("%-22s %12s %12s %14s %11s  %s\n", "measure", "voice", "Griffin-Lim", "refined noise", "recordings",
              "better");
  for (const auto& name : engine::kMeasures) {
    std::printf("%-22s %12s %12s %14s %11zu  %s\n", name.key, cell(voice.*name.value).c_str(),
                cell(floor.*name.value).c_str(), cell(noise.*name.value).c_str(),
                evaluation.compared(name.value).size(), name.better);
  }
  std::fflush(stdout);
}

int exit_code(const engine::Evaluation& evaluation) {
  if (evaluation.failures.empty()) return static_cast<int>(Exit::ok);
  const bool only_one = evaluation.items.empty() && evaluation.failures.size() == 1;
  return static_cast<int>(only_one ? evaluation.failures[0].code : Exit::some_failed);
}

engine::Evaluation run_evaluation(const EvalArguments& a, const engine::ChosenRecordings& chosen,
                                  const engine::ModelVoice& voice) {
  ProgressLine line;
  return engine::evaluate(voice, chosen.clips, a.options, stop_requested, [&](size_t done, size_t total) {
    line.show(done < total ? "recording " + std::to_string(done + 1) + "/" + std::to_string(total) : "PESQ");
  });
}

}  // namespace

int run_eval(CLI::App& app, std::vector<std::string> arguments) {
  auto a = eval_arguments(app, std::move(arguments));
  use_threads(a.threads);
  require_ending("--html", a.html, ".html");
  auto html = open_output(a.html, a.force);
  a.options.device = engine::open_device(a.device);
  auto voice = engine::load_voice(find_voice(a.voice));
  const auto chosen = engine::choose_recordings({a.data.begin(), a.data.end()}, voice.mel, a.choice);
  catch_signals();
  auto evaluation = run_evaluation(a, chosen, voice);
  if (const int code = signal_exit_code(); code != 0) return code;  // half an evaluation is none

  evaluation.failures.insert(evaluation.failures.begin(), chosen.refused.begin(), chosen.refused.end());
  for (const auto& failure : evaluation.failures) std::cerr << "melflow eval: " << failure.message << "\n";
  if (!evaluation.pesq_absent.empty()) std::cerr << "no PESQ: " << evaluation.pesq_absent << "\n";
  if (a.as_json) {
    std::cout << json_text(engine::to_json(evaluation)) << "\n";
  } else if (!evaluation.items.empty()) {
    print_table(evaluation);
  }
  if (html && !evaluation.items.empty()) write(html, engine::html_report(evaluation));
  return exit_code(evaluation);
}

}  // namespace melflow::tools
