#include <cmath>
#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/mel.h"
#include "engine/files/mel_file.h"
#include "engine/files/npy.h"
#include "engine/files/picture.h"
#include "engine/voice.h"
#include "tools/batch.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace melflow::tools {

int run_mel(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs, sets;
  Destination out;
  std::string recipe = "waveglow", format = "npy";
  RawFormat raw;
  int assume_rate = 0;
  bool as_json = false;
  app.add_option("inputs", inputs, "recordings; - is raw PCM on stdin")->required();
  app.add_option(
      "-o", out.file,
      "output: .npy [n_mels, frames] or .safetensors, which carries its recipe, or .png, a picture; - is stdout");
  app.add_option("-d", out.folder, "folder of the outputs");
  app.add_option("--recipe", recipe, "waveglow, hifigan, or a voice's file");
  app.add_option(
      "--set", sets,
      "key=value: sample_rate, n_fft, hop_length, win_length, n_mels, f_min, f_max, scale, norm, pad, centre");
  app.add_option("--as", format, "npy, safetensors or png, for -d")
      ->check(CLI::IsMember({"npy", "safetensors", "png"}));
  app.add_option("--assume-rate", assume_rate, "relabel the samples instead of resampling, Hz")
      ->check(CLI::Range(1, 10'000'000));
  app.add_option("--rate", raw.rate, "of raw PCM on stdin, Hz")->check(CLI::Range(100, 10'000'000));
  app.add_option("--format", raw.format, "of raw PCM on stdin: pcm16, pcm24, float32");
  app.add_flag("--force", out.force, "replace outputs that exist");
  app.add_flag("--json", as_json, "one JSON object an item on stdout");
  parse(app, std::move(arguments));
  out.check(inputs);

  const bool from_voice = recipe.find(".safetensors") != std::string::npos;
  auto options = from_voice ? engine::VoiceFile(recipe).voice().mel : audio::mel_recipe(recipe);
  for (const auto& set : sets) {
    const auto equals = set.find('=');
    if (equals == std::string::npos) throw Error(Exit::usage, "--set " + set + ": write it as key=value");
    audio::set_mel_option(options, set.substr(0, equals), set.substr(equals + 1));
  }
  options.validate();
  audio::MelExtractor extractor(options);
  return for_each_item(inputs, as_json && out.file != "-", [&](const std::string& input) -> nlohmann::json {
    const auto sound = read_sound(input, options.sample_rate, assume_rate, raw);
    audio::Mel mel;
    try {
      mel = extractor(sound);
    } catch (const Error& e) {
      throw Error(e.code(), input + ": " + e.what());
    }
    mel.recipe = options;
    if (out.file == "-") {
      const int64_t shape[] = {mel.n_mels, mel.frames};
      write_stdout(files::npy_bytes(shape, mel.values));
      return {};
    }
    const auto path = out.path_for(input, "." + format);
    if (path.extension() == ".png") {
      files::write_png(path, files::spectrogram_picture(mel), out.existing());
    } else {
      files::write_mel(path, mel, out.existing());
    }
    return {{"input", input},
            {"output", path.string()},
            {"n_mels", mel.n_mels},
            {"frames", mel.frames},
            {"seconds", sound.seconds()}};
  });
}

}  // namespace melflow::tools
