#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "base/file_ending.h"
#include "base/nearest.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy.h"
#include "engine/files/picture.h"
#include "engine/kernels/thread_team.h"
#include "engine/voice.h"
#include "tools/cli/batch.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/shipped_voices.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

struct MelArguments {
  std::vector<std::string> inputs, sets;
  Destination out;
  std::string recipe = "waveglow", format = "npy";
  RawFormat raw;
  int assume_rate = 0, threads = 0;
  bool as_json = false;
};

MelArguments mel_arguments(CLI::App& app, std::vector<std::string> arguments) {
  MelArguments a;
  app.add_option("inputs", a.inputs, "recordings; - is raw PCM on stdin");
  app.add_option(
      "-o,--out", a.out.file,
      "output: .npy [n_mels, frames] or .safetensors, which carries its recipe, or .png, a picture; - is stdout");
  app.add_option("-d", a.out.folder, "folder of the outputs");
  app.add_option("--recipe", a.recipe, "waveglow, hifigan, or that of a voice: its file, or a shipped one's name");
  app.add_option("--set", a.sets,
                 "key=value: sample_rate, n_fft, hop_length, win_length, n_mels, f_min, f_max, scale, norm, pad, "
                 "centre, log_floor, "
                 "magnitude_epsilon");
  app.add_option("--as", a.format, "npy, safetensors or png, for -d")
      ->check(CLI::IsMember({"npy", "safetensors", "png"}));
  app.add_option("--assume-rate", a.assume_rate, "relabel the samples instead of resampling, Hz")
      ->check(CLI::Range(1, 10'000'000));
  app.add_option("--rate", a.raw.rate, "of raw PCM on stdin, Hz")->check(CLI::Range(100, 10'000'000));
  app.add_option("--format", a.raw.format, "of raw PCM on stdin: pcm16, pcm24, float32");
  add_threads(app, a.threads);
  app.add_flag("--force", a.out.force, "replace outputs that exist");
  app.add_flag("--json", a.as_json, "one JSON object an item on stdout; on stderr with -o -");
  parse(app, std::move(arguments));
  take_settings(a.sets, a.inputs);
  if (a.inputs.empty()) throw Error(Exit::usage, "no recording; name one, or - for raw PCM on stdin");
  a.out.check(a.inputs);
  if (a.out.folder.empty()) refuse_options(app, {"--as"}, "but with -d");
  if (reads_stdin(a.inputs)) refuse_options(app, {"--assume-rate"}, "for raw PCM on stdin, whose rate --rate says");
  if (!reads_stdin(a.inputs)) refuse_options(app, {"--rate", "--format"}, "but for raw PCM on stdin");
  return a;
}

bool is_voice(const std::string& recipe) {
  const auto names = shipped_names();
  return std::ranges::find(names, recipe) != names.end() || recipe.find(".safetensors") != std::string::npos;
}

audio::MelOptions recipe_named(const std::string& name) {
  const auto recipes = audio::mel_recipe_names();
  if (std::ranges::find(recipes, name) != recipes.end()) return audio::mel_recipe(name);
  if (!is_voice(name)) {
    std::vector<std::string> known(recipes.begin(), recipes.end());
    for (const auto& voice : shipped_names()) known.push_back(voice);
    throw Error(Exit::config, "no mel recipe is called '" + name + "'" + suggestion(name, known));
  }
  return engine::VoiceFile(find_voice(name)).voice().mel;
}

audio::MelOptions recipe_of(const MelArguments& a) {
  auto options = recipe_named(a.recipe);
  for (const auto& set : a.sets) {
    const auto equals = set.find('=');
    audio::set_mel_option(options, set.substr(0, equals), set.substr(equals + 1));
  }
  options.validate();
  return options;
}

/// Bands so narrow that no bin of the FFT lies in them.
void tell_empty_bands(const audio::MelOptions& recipe) {
  const auto weights = audio::mel_filterbank(recipe);
  const auto bins = static_cast<std::ptrdiff_t>(weights.size()) / recipe.n_mels;
  int empty = 0;
  for (auto band = weights.begin(); band != weights.end(); band += bins) {
    empty += std::all_of(band, band + bins, [](double weight) { return weight == 0; });
  }
  if (empty == 0) return;
  std::fprintf(stderr, "%d of %d bands hold no bin of the FFT and say nothing; take fewer n_mels, or a larger n_fft\n",
               empty, recipe.n_mels);
}

/// The mel and the samples that it is of. What it took on the way is given back: an output may lie where TMPDIR does.
std::pair<audio::Mel, int64_t> whole_mel(const std::string& input, audio::MelStream& stream, const MelArguments& a) {
  const auto recorded = read_recorded(input, stream, a.assume_rate, a.raw);
  try {
    return {recorded.mel.whole(), recorded.samples};
  } catch (const std::bad_alloc&) {
    throw audio::too_long_for_memory(input);
  }
}

nlohmann::json make_mel(const MelArguments& a, const audio::MelOptions& recipe, const std::string& input) {
  thread_local audio::MelStream stream(recipe);
  const auto [mel, samples] = whole_mel(input, stream, a);
  const auto path = a.out.path_for(input, "." + a.format);
  if (is_voice(a.recipe)) require_other(path, {find_voice(a.recipe)});
  if (a.out.file == "-") {
    const int64_t shape[] = {mel.n_mels, mel.frames};
    write_stdout(files::npy_bytes(shape, mel.values));
  } else if (has_ending(path.native(), ".png")) {
    files::write_png(path, files::spectrogram_picture(mel), existing(a.out.force));
  } else {
    files::write_mel(path, mel, existing(a.out.force));
  }
  return {{"input", input},
          {"output", path.string()},
          {"n_mels", mel.n_mels},
          {"frames", mel.frames},
          {"seconds", static_cast<double>(samples) / recipe.sample_rate}};
}

}  // namespace

int run_mel(CLI::App& app, std::vector<std::string> arguments) {
  const auto a = mel_arguments(app, std::move(arguments));
  const auto recipe = recipe_of(a);
  tell_empty_bands(recipe);
  const auto make_one = [&](const std::string& input) { return make_mel(a, recipe, input); };
  return for_each_item(a.inputs, json_stream(a.as_json, a.out.file), make_one, engine::threads_for(a.threads));
}

}  // namespace melflow::tools
