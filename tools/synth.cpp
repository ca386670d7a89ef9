#include <unistd.h>

#include <chrono>
#include <cstdio>

#include <nlohmann/json.hpp>

#include <torch/torch.h>

#include "audio/error.h"
#include "engine/device.h"
#include "engine/files/npy.h"
#include "engine/synth/synthesizer.h"
#include "engine/tensors.h"
#include "tools/batch.h"
#include "tools/frames.h"
#include "tools/inputs.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/signals.h"
#include "tools/verbs.h"
#include "tools/voice_options.h"

namespace melflow::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct SynthArguments {
  Destination out;
  RawFormat raw_input;
  StreamOptions stream;
  std::string z, dump_z, encoding = "pcm16", format = "wav";
  bool raw = false;
};

void write_noise(const SynthArguments& a, const engine::Synthesizer& synthesizer, const audio::Mel& mel,
                 const engine::Noise& noise) {
  const auto z = synthesizer.noise_for(mel, noise);
  files::write_npy(a.dump_z, z.sizes().vec(), engine::tensor_vector(z), a.out.existing());
}

nlohmann::json synthesize(const SynthArguments& a, const VoiceOptions& v, engine::Synthesizer& synthesizer,
                          const std::string& input) {
  const auto spoken = read_spoken(input, synthesizer.voice(), a.raw_input);
  const auto& recipe = synthesizer.voice().mel;
  const auto noise = a.z.empty() ? engine::Noise(v.seed) : engine::Noise(files::read_npy(a.z), a.z);
  if (!a.dump_z.empty()) write_noise(a, synthesizer, spoken.mel, noise);

  const auto whole = static_cast<size_t>(spoken.mel.frames) * static_cast<size_t>(recipe.hop_length);
  const auto samples = std::min(whole, spoken.samples.value_or(whole));
  const auto path = a.out.path_for(input, "." + a.format);
  SoundOutput out(path, {.sample_rate = recipe.sample_rate,
                         .encoding = audio::encoding_from_name(a.encoding),
                         .raw = a.raw,
                         .samples = static_cast<int64_t>(samples),
                         .existing = a.out.existing()});
  ProgressLine line;
  const auto begin = Clock::now();
  double done = 0;
  synthesizer.run(spoken.mel, noise, [&](std::span<const float> piece) {
    if (stop_requested()) throw Error(Exit::io_error, "stopped");
    require_finite(piece, input, synthesizer.voice().name);
    out.write(piece);
    done += static_cast<double>(piece.size()) / recipe.sample_rate;
    line.show(clock_text(done) + " of " + clock_text(static_cast<double>(samples) / recipe.sample_rate));
  });
  out.finish();
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  const double seconds = static_cast<double>(samples) / recipe.sample_rate;
  std::fprintf(stderr, "%s: %.2f s of sound in %.2f s, %.1f times real time\n", path.c_str(), seconds, took,
               seconds / took);
  return {{"input", input},
          {"output", path.string()},
          {"seconds", seconds},
          {"samples", samples},
          {"sample_rate", recipe.sample_rate},
          {"real_time_factor", seconds / took},
          {"sigma", synthesizer.sigma()},
          {"seed", v.seed}};
}

/// Frames that arrive while sound leaves.
nlohmann::json synthesize_stream(const SynthArguments& a, const VoiceOptions& v, engine::Synthesizer& synthesizer,
                                 const std::string& input, Frames& frames) {
  const auto& recipe = synthesizer.voice().mel;
  const auto noise = a.z.empty() ? engine::Noise(v.seed) : engine::Noise(files::read_npy(a.z), a.z);
  const auto path = a.out.path_for(input, "." + a.format);
  SoundOutput out(path, {.sample_rate = recipe.sample_rate,
                         .encoding = audio::encoding_from_name(a.encoding),
                         .raw = a.raw,
                         .existing = a.out.existing()});
  ProgressLine line;
  int64_t samples = 0;
  const auto seconds = [&] { return static_cast<double>(samples) / recipe.sample_rate; };
  speak(frames, recipe.n_mels, *synthesizer.open_stream(noise), [&](std::span<const float> piece) {
    require_finite(piece, input, synthesizer.voice().name);
    out.write(piece);
    samples += static_cast<int64_t>(piece.size());
    line.show(clock_text(seconds()));
  });
  if (stop_requested()) throw Error(Exit::io_error, "stopped");
  out.finish();
  return {{"input", input},     {"output", path.string()},           {"seconds", seconds()},
          {"samples", samples}, {"sample_rate", recipe.sample_rate}, {"sigma", synthesizer.sigma()},
          {"seed", v.seed}};
}

/// A pipe in, a pipe out, where nothing else is said: melflow synth - --stream --raw.
void default_to_stdout(const std::vector<std::string>& inputs, const SynthArguments& a, Destination& out) {
  if (!a.stream.asked(inputs) || !out.file.empty() || !out.folder.empty()) return;
  if (isatty(STDOUT_FILENO) == 1) throw Error(Exit::usage, "stdout is a terminal; give -o FILE, or pipe the sound on");
  out.file = "-";
}

}  // namespace

int run_synth(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  SynthArguments a;
  VoiceOptions v;
  bool json = false;
  app.add_option("inputs", inputs, "mels (.npy, .safetensors) or recordings; - is a mel on stdin");
  app.add_option("-o", a.out.file, "output: .wav, .flac, .raw, .npy (exact samples); - is stdout");
  app.add_option("-d", a.out.folder, "folder of the outputs");
  v.add_to(app);
  app.add_option("--z", a.z, "noise from a file [n_group, groups], before sigma");
  app.add_option("--dump-z", a.dump_z, "write the noise that was used");
  app.add_option("--encoding", a.encoding, "pcm16, pcm24 or float32");
  app.add_option("--as", a.format, "wav, flac, raw or npy, for -d")
      ->check(CLI::IsMember({"wav", "flac", "raw", "npy"}));
  app.add_flag("--raw", a.raw, "no WAV header on stdout");
  app.add_flag("--stream", a.stream.stream, "frames on stdin (raw float32 or .npy) are spoken as they arrive");
  app.add_option("--live-in", a.stream.live_in, "speak what a recording device hears; - is raw PCM on stdin");
  app.add_option("--rate", a.raw_input.rate, "raw PCM on stdin instead of a mel: its rate, Hz");
  app.add_option("--format", a.raw_input.format, "raw PCM on stdin: pcm16, pcm24, float32");
  app.add_flag("--force", a.out.force, "replace outputs that exist");
  app.add_flag("--json", json, "one JSON object an item on stdout");
  parse(app, std::move(arguments));
  if (inputs.empty() && a.stream.live_in.empty())
    throw Error(Exit::usage, "nothing to speak; name a mel or a recording");
  default_to_stdout(inputs, a, a.out);
  a.out.check(inputs.size());
  if ((!a.z.empty() || !a.dump_z.empty()) && inputs.size() > 1) {
    throw Error(Exit::usage, "--z and --dump-z go with one input");
  }
  if (a.stream.asked(inputs) && !a.dump_z.empty()) {
    throw Error(Exit::usage, "--dump-z needs the whole mel; it does not go with --stream and --live-in");
  }
  audio::encoding_from_name(a.encoding);
  catch_signals();
  auto synthesizer = v.open();
  try {
    if (a.stream.asked(inputs)) {
      const auto frames = a.stream.open(inputs, synthesizer.voice(), a.raw_input);
      const std::string name = a.stream.live_in.empty() ? "-" : a.stream.live_in;
      return for_each_item({name}, json && a.out.file != "-", [&](const std::string& input) {
        return synthesize_stream(a, v, synthesizer, input, *frames);
      });
    }
    return for_each_item(inputs, json && a.out.file != "-",
                         [&](const std::string& input) { return synthesize(a, v, synthesizer, input); });
  } catch (const ClosedPipe&) {
    return 0;  // | head has what it wanted
  }
}

}  // namespace melflow::tools
