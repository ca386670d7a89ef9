#include <algorithm>
#include <functional>
#include <iostream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/kernels/thread_team.h"
#include "tools/bench/benches.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/signals.h"
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

struct BenchArguments {
  VoiceOptions voice;
  TrainBench train;
  double seconds = 10;  ///< of sound
  Picture picture;
};

/// What can be measured, and the options that it takes, apart by blanks.
struct Subject {
  const char* name;
  std::string options;
  bool by_default;
  std::function<void(const BenchArguments&, const Print&)> run;
};

const std::vector<Subject>& all_subjects() {
  static const std::string voice =
      "--voice --device --precision --threads --sigma --seed --draws --refine --denoise --latency ";
  static const std::vector<Subject> all{
      {"mel", "", true, [](const auto&, const Print& print) { bench_mel(print); }},
      {"synth", voice + "--seconds", true,
       [](const auto& a, const Print& print) { bench_synth(a.voice, a.seconds, print); }},
      {"stream", voice + "--seconds", true,
       [](const auto& a, const Print& print) { bench_stream(a.voice, a.seconds, print); }},
      {"waveglow", "--threads --seconds", true,
       [](const auto& a, const Print& print) {
         bench_waveglow(a.seconds, engine::threads_for(a.voice.threads), print);
       }},
      {"train", "--voice --device --precision --threads --data --batch --frames --steps", true,
       [](const auto& a, const Print& print) { bench_train(a.train, print); }},
      {"growth", voice + "--seconds --picture --force", false,
       [](const auto& a, const Print& print) { bench_growth(a.voice, a.seconds, a.picture, print); }},
      {"gpu", "", false, [](const auto&, const Print& print) { bench_gpu(print); }}};
  return all;
}

const Subject& subject_named(const std::string& name) {
  return *std::ranges::find(all_subjects(), name, &Subject::name);
}

/// Options that none of the subjects takes.
void refuse_unused_by(const std::vector<std::string>& subjects, const CLI::App& app) {
  std::string taken = "--json --help ";
  for (const auto& name : subjects) taken += subject_named(name).options + " ";
  for (const auto* option : app.get_options()) {
    const auto name = option->get_name();
    if (!name.starts_with("--") || taken.find(name + " ") != std::string::npos) continue;
    refuse_options(app, {name.c_str()}, "for bench " + CLI::detail::join(subjects, " "));
  }
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

/// What a voice does not do is told before anything is measured.
void require_voice(const std::vector<std::string>& subjects, const VoiceOptions& v) {
  const bool spoken = std::ranges::any_of(
      subjects, [](const auto& name) { return subject_named(name).options.find("--refine ") != std::string::npos; });
  if (spoken) v.open();
}

}  // namespace

int run_bench(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> subjects, others, names;
  for (const auto& subject : all_subjects()) {
    names.emplace_back(subject.name);
    (subject.by_default ? subjects : others).emplace_back(subject.name);
  }
  BenchArguments a;
  auto& v = a.voice;
  auto& train = a.train;
  bool as_json = false;
  app.add_option("subjects", subjects,
                 CLI::detail::join(names, ", ") + "; default: all but " + CLI::detail::join(others, " and "))
      ->check(CLI::IsMember(names));
  v.add_to(app);
  app.add_option("--seconds", a.seconds, "of sound to synthesise; growth: at most")->check(within(0.5, 3600.0));
  app.add_option("--picture", a.picture.path, "growth: a chart of it, .png; of 3 s or more");
  app.add_flag("--force", a.picture.force, "growth: replace an existing picture");
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
  if (a.picture.path.empty()) refuse_options(app, {"--force"}, "but with --picture");
  require_ending("--picture", a.picture.path, ".png");
  if (!a.picture.path.empty() && a.seconds < 3)
    throw Error(Exit::usage, "--picture: a curve takes --seconds 3 or more");
  require_what_trains(app, subjects, v);
  require_voice(subjects, v);
  bool all_reported = true;
  const Print print = [&](const json& line) {
    all_reported = all_reported && !line.contains("not_reported");
    if (as_json) {
      std::cout << json_text(line) << std::endl;
    } else {
      print_lines(line, 0);
      std::cout << std::endl;
    }
  };
  for (const auto& subject : subjects) {
    subject_named(subject).run(a, print);
    if (stop_requested()) return signal_exit_code();
  }
  return static_cast<int>(all_reported ? Exit::ok : Exit::some_failed);
}

}  // namespace melflow::tools
