#include <algorithm>
#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "engine/kernels/thread_team.h"
#include "tools/bench/benches.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

/// For people: nested objects indented, one value a line.
void print_lines(const json& object, int depth) {
  for (const auto& [key, value] : object.items()) {
    std::cout << std::string(static_cast<size_t>(2 * depth), ' ') << key << ":";
    if (value.is_object()) {
      std::cout << "\n";
      print_lines(value, depth + 1);
    } else {
      std::cout << " " << json_text(value) << "\n";
    }
  }
}

/// Options that none of the subjects takes.
void refuse_unused_by(const std::vector<std::string>& subjects, const CLI::App& app) {
  refuse_unused(app,
                {{"--voice", "synth stream train growth"},
                 {"--device", "synth stream train growth"},
                 {"--precision", "synth stream train growth"},
                 {"--threads", "synth stream waveglow train growth"},
                 {"--sigma", "synth stream growth"},
                 {"--seed", "synth stream growth"},
                 {"--draws", "synth stream growth"},
                 {"--refine", "synth stream growth"},
                 {"--denoise", "synth stream growth"},
                 {"--latency", "synth stream growth"},
                 {"--seconds", "synth stream waveglow growth"},
                 {"--picture", "growth"},
                 {"--data", "train"},
                 {"--batch", "train"},
                 {"--frames", "train"},
                 {"--steps", "train"}},
                subjects, "for bench " + CLI::detail::join(subjects, " "));
}

/// What `waveglow` and `train` need, before anything is measured.
void require_what_trains(const CLI::App& app, const std::vector<std::string>& subjects, const VoiceOptions& v) {
  const auto asked = [&](const char* name) {
    return std::find(subjects.begin(), subjects.end(), name) != subjects.end();
  };
  if (asked("waveglow") || asked("train")) require_torch();
  if (asked("train") && v.device == "cuda") {  // before anything else asks LibTorch for a GPU
    if (const auto problem = gpu_problem(); !problem.empty()) throw Error(Exit::unavailable, problem);
  }
  if (asked("train") && app.count("subjects") > 0 && v.precision == "int8") {
    throw Error(Exit::usage, "bench train: --precision fp32 or bf16, not int8");
  }
}

}  // namespace

int run_bench(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> subjects{"mel", "synth", "stream", "waveglow", "train"};
  VoiceOptions v;
  TrainBench train;
  double seconds = 10;
  std::string picture;
  bool as_json = false;
  app.add_option("subjects", subjects,
                 "mel, synth, stream, waveglow, train, growth, gpu; default: all but growth and gpu")
      ->check(CLI::IsMember({"mel", "synth", "stream", "waveglow", "train", "growth", "gpu"}));
  v.add_to(app);
  app.add_option("--seconds", seconds, "of sound to synthesise; growth: at most")->check(within(0.5, 3600.0));
  app.add_option("--picture", picture, "growth: a chart of it, .png");
  app.add_option("--data", train.data, "train: a folder of recordings; default: a shipped sentence");
  app.add_option("--batch", train.batch, "train: crops a step")->check(CLI::Range(1, 4096));
  app.add_option("--frames", train.frames, "train: mel frames a crop")->check(CLI::Range(1, 100000));
  app.add_option("--steps", train.steps, "train: how many are measured")->check(CLI::Range(1, 100000));
  app.add_flag("--json", as_json, "one JSON object a line");
  parse(app, std::move(arguments));
  refuse_unused_by(subjects, app);
  train.voice = v.voice;
  train.threads = v.threads;
  train.device = v.device;
  train.bf16 = v.precision == "bf16";
  require_what_trains(app, subjects, v);
  const Print print = [&](const json& line) {
    if (as_json) {
      std::cout << json_text(line) << std::endl;
    } else {
      print_lines(line, 0);
      std::cout << std::endl;
    }
  };
  for (const auto& subject : subjects) {
    if (subject == "mel") bench_mel(print);
    if (subject == "synth") bench_synth(v, seconds, print);
    if (subject == "stream") bench_stream(v, seconds, print);
    if (subject == "waveglow") bench_waveglow(seconds, v.threads > 0 ? v.threads : engine::default_threads(), print);
    if (subject == "train") bench_train(train, print);
    if (subject == "growth") bench_growth(v, seconds, picture, print);
    if (subject == "gpu") bench_gpu(print);
  }
  return 0;
}

}  // namespace melflow::tools
