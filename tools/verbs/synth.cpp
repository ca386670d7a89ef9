#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/npy.h"
#include "engine/kernels/thread_team.h"
#include "engine/synth/synthesizer.h"
#include "tools/cli/batch.h"
#include "tools/cli/frames.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/progress.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/signals.h"
#include "tools/cli/verify_stream.h"
#include "tools/cli/voice_options.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct SynthArguments {
  Destination out;
  RawFormat raw_input;
  StreamOptions stream;
  std::string z, dump_z, encoding = "pcm16", format = "wav";
  bool raw = false, json = false, verify = false;
  double start = 0;  // seconds
  int chunkings = 10;

  audio::Encoding pcm() const { return audio::encoding_from_name(encoding); }
};

engine::Noise noise_of(const SynthArguments& a, const VoiceOptions& v) {
  return a.z.empty() ? engine::Noise(v.seed) : engine::Noise(files::read_npy(a.z), a.z);
}

SoundOutput::Options output_options(const SynthArguments& a, const audio::MelOptions& recipe, int64_t samples) {
  return {.sample_rate = recipe.sample_rate,
          .encoding = a.pcm(),
          .raw = a.raw,
          .samples = samples,
          .existing = existing(a.out.force)};
}

/// An output and how it was made, for JSON.
nlohmann::json item_of(const std::string& input, const std::filesystem::path& output, int64_t samples,
                       const engine::Synthesizer& synthesizer, const engine::Noise& noise, const VoiceOptions& v) {
  const auto rate = synthesizer.voice().mel.sample_rate;
  return {{"input", input},
          {"output", output.string()},
          {"seconds", static_cast<double>(samples) / rate},
          {"samples", samples},
          {"sample_rate", rate},
          {"sigma", synthesizer.sigma()},
          {"draws", noise.best_of(synthesizer.draws()).draws()},
          {"refine", synthesizer.refining_passes()},
          {"seed", v.seed}};
}

/// How far from exact a voice was that had to hurry.
void tell_snr(nlohmann::json& item, const std::optional<double>& snr, const std::string& name) {
  if (!snr) return;
  if (!std::isfinite(*snr)) {
    std::fprintf(stderr, "%s: nothing had to be guessed\n", one_line(name).c_str());
    return;
  }
  item["snr_db"] = *snr;
  std::fprintf(stderr, "%s: %.1f dB above its error against the exact sound\n", one_line(name).c_str(), *snr);
}

/// What of the sound is not in the output.
void tell_clipped(nlohmann::json& item, const SoundOutput& out, const std::string& name) {
  item["clipped_samples"] = out.clipped();
  if (out.clipped() == 0) return;
  std::fprintf(stderr,
               "%s: %lld samples are louder than full scale and were clipped; .npy, or .wav with --encoding float32, "
               "keeps them\n",
               one_line(name).c_str(), static_cast<long long>(out.clipped()));
}

void tell_speed(const std::filesystem::path& path, double seconds, double took) {
  std::fprintf(stderr, "%s: %.2f s of sound in %.2f s, %.1f times real time\n", one_line(path.string()).c_str(),
               seconds, took, seconds / took);
}

/// Samples from `start` on that a mel gives, `whole` in all.
int64_t samples_after(double start, int64_t whole, int sample_rate, const std::string& input) {
  const int64_t samples = whole - std::llround(start * sample_rate);
  if (samples > 0) return samples;
  throw Error(Exit::usage, "--start " + std::to_string(start) + ": " + input + " ends at " +
                               std::to_string(static_cast<double>(whole) / sample_rate) + " s");
}

/// Throws Error{usage} where an output is an input, or both outputs are one.
void require_lossless(const SynthArguments& a, const VoiceOptions& v, const std::filesystem::path& path,
                      const std::string& input) {
  require_apart("-o", path, "--dump-z", a.dump_z);
  const auto voice = find_voice(v.voice);
  require_other(path, {a.z, voice});
  require_other(a.dump_z, {input, a.z, voice});
}

nlohmann::json synthesize(const SynthArguments& a, const VoiceOptions& v, const engine::Synthesizer& synthesizer,
                          const std::string& input, bool alone) {
  const auto spoken = read_spoken(input, synthesizer.voice(), a.raw_input);
  const auto& recipe = synthesizer.voice().mel;
  const auto noise = noise_of(a, v).noting();

  const auto length = spoken.length(recipe.hop_length);
  const int64_t samples = samples_after(a.start, length, recipe.sample_rate, input);
  const auto path = a.out.path_for(input, "." + a.format);
  require_lossless(a, v, path, input);
  SoundOutput out(path, output_options(a, recipe, samples));
  auto dump = open_output(a.dump_z, a.out.force);
  ProgressLine line(alone);
  const auto begin = Clock::now();
  const double seconds = static_cast<double>(samples) / recipe.sample_rate;
  double done = 0;
  const auto sink = [&](std::span<const float> piece) {
    if (stop_requested()) throw Error(Exit::io_error, "stopped");
    engine::require_finite(piece, input, synthesizer.voice().name);
    out.write(piece);
    done += static_cast<double>(piece.size()) / recipe.sample_rate;
    line.show(clock_text(done) + " of " + clock_text(seconds));
  };
  const auto snr = synthesizer.run(spoken.mel, noise, sink, length - samples);
  if (dump) {
    const auto z = synthesizer.noise_for(spoken.mel, noise);
    dump->write(files::npy_bytes(z.shape, z.values));
    dump->commit();
  }
  out.finish();
  const double took = std::chrono::duration<double>(Clock::now() - begin).count();
  tell_speed(path, seconds, took);
  auto item = item_of(input, path, samples, synthesizer, noise, v);
  item["real_time_factor"] = seconds / took;
  tell_snr(item, snr, path.string());
  tell_clipped(item, out, path.string());
  return item;
}

/// Frames that arrive while sound leaves.
nlohmann::json synthesize_stream(const SynthArguments& a, const VoiceOptions& v, const engine::Synthesizer& synthesizer,
                                 const std::string& input, Frames& frames) {
  const auto& recipe = synthesizer.voice().mel;
  const auto path = a.out.path_for(input, "." + a.format);
  require_lossless(a, v, path, input);
  SoundOutput out(path, output_options(a, recipe, /*samples=*/-1));
  ProgressLine line;
  int64_t samples = 0;
  const auto noise = noise_of(a, v);
  const auto stream = synthesizer.open_stream(noise);
  speak(frames, recipe.n_mels, *stream, [&](std::span<const float> piece) {
    engine::require_finite(piece, input, synthesizer.voice().name);
    out.write(piece);
    samples += static_cast<int64_t>(piece.size());
    line.show(clock_text(static_cast<double>(samples) / recipe.sample_rate));
  });
  if (stop_requested() && !frames.endless()) throw Error(Exit::io_error, "stopped");
  out.finish();
  auto item = item_of(input, path, samples, synthesizer, noise, v);
  tell_snr(item, stream->snr_db(), path.string());
  tell_clipped(item, out, path.string());
  return item;
}

/// Prints the digests, and throws where one differs: the fault is the program's.
nlohmann::json verify(const SynthArguments& a, const VoiceOptions& v, const engine::Synthesizer& synthesizer,
                      const std::string& input) {
  const auto spoken = read_spoken(input, synthesizer.voice(), a.raw_input);
  const int threads = engine::threads_for(v.threads);
  auto item = verify_stream(synthesizer, spoken.mel, noise_of(a, v), a.pcm(), a.chunkings, threads);
  item["input"] = input;
  if (!a.json) {
    std::cout << item["digest"].get<std::string>() << "  " << one_line(input) << ", " << spoken.mel.frames()
              << " frames at once\n";
    for (const auto& run : item["chunkings"]) {
      std::cout << run["digest"].get<std::string>() << "  in " << run["pieces"] << " pieces of " << run["shortest"]
                << " to " << run["longest"] << "\n";
    }
    std::cout << (item["equal"].get<bool>() ? "equal" : "different") << std::endl;
  }
  if (!item["equal"].get<bool>()) {
    throw Error(Exit::internal,
                input + ": a stream differs from the sound made at once, by up to " + item["max_difference"].dump());
  }
  return item;
}

/// The output where none is named: a pipe in, a pipe out (melflow synth - --stream --raw).
std::string unnamed_output(const SynthArguments& a, const std::vector<std::string>& inputs) {
  if (!a.stream.asked(inputs)) return "";
  if (isatty(STDOUT_FILENO) == 1) throw Error(Exit::usage, "stdout is a terminal; give -o FILE, or pipe the sound on");
  return "-";
}

void add_options(CLI::App& app, std::vector<std::string>& inputs, SynthArguments& a, VoiceOptions& v) {
  app.add_option("inputs", inputs, "mels (.npy, .npz, .pt, .safetensors) or recordings; - is a mel on stdin");
  app.add_option("-o,--out", a.out.file, "output: .wav, .flac, .raw, .npy (exact samples); - is stdout");
  app.add_option("-d", a.out.folder, "folder for the outputs, one for each input");
  v.add_to(app);
  app.add_option("--z", a.z, "take the noise from a .npy file [group, groups]; sigma comes on top");
  app.add_option("--dump-z", a.dump_z, "write the noise that was used, as --z reads it");
  app.add_option("--encoding", a.encoding, "pcm16, pcm24 or float32");
  app.add_option("--as", a.format, "wav, flac, raw or npy, for -d")
      ->check(CLI::IsMember({"wav", "flac", "raw", "npy"}));
  app.add_flag("--raw", a.raw, "no WAV header on stdout");
  app.add_option("--start", a.start,
                 "begin at this time, in seconds; the samples are those of the whole. A WaveGlow skips most of what is "
                 "before, a BlockFlow computes all of it")
      ->check(within(0.0, 1e6));
  app.add_flag("--stream", a.stream.stream, "frames on stdin (raw float32 or .npy) are spoken as they arrive");
  app.add_flag("--verify-stream", a.verify,
               "write nothing; synthesize the mel whole and in random pieces, print the digests of the PCM and whether "
               "they are equal (exit code 70 if not)");
  app.add_option("--chunkings", a.chunkings, "for --verify-stream: how many random cuts")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--live-in", a.stream.live_in, "speak what a recording device hears; - is raw PCM on stdin");
  app.add_option("--rate", a.raw_input.rate, "raw PCM on stdin instead of a mel: its rate, Hz")
      ->check(CLI::Range(100, 10'000'000));
  app.add_option("--format", a.raw_input.format, "raw PCM on stdin: pcm16, pcm24, float32");
  app.add_flag("--force", a.out.force, "replace outputs that exist");
  app.add_flag("--json", a.json, "one JSON object an item on stdout; on stderr with -o -");
}

/// What was said and would not be heard.
void refuse_unheard(const CLI::App& app, const std::vector<std::string>& inputs, const SynthArguments& a) {
  if (a.out.file != "-") refuse_options(app, {"--raw"}, "but on stdout (-o -); files are raw by their name (.raw)");
  if (a.out.folder.empty()) refuse_options(app, {"--as"}, "but with -d");
  a.stream.refuse_unused(app, inputs, a.raw_input);
  if (!a.verify) refuse_options(app, {"--chunkings"}, "but with --verify-stream");
  if (!a.z.empty()) refuse_options(app, {"--seed", "--draws"}, "with --z, which is the noise");
  if (has_ending(a.out.file, ".npy") || (!a.out.folder.empty() && a.format == "npy")) {
    refuse_options(app, {"--encoding"}, "for .npy, which holds the exact float32 samples");
  }
}

/// Throws Error{usage} for what does not go together.
void check(const std::vector<std::string>& inputs, const SynthArguments& a) {
  const auto refuse = [](const std::string& why) { throw Error(Exit::usage, why); };
  const bool arriving = a.stream.asked(inputs);
  if (inputs.empty() && a.stream.live_in.empty()) refuse("nothing to speak; name a mel or a recording");
  a.pcm();
  require_ending("--dump-z", a.dump_z, ".npy");
  if (a.verify) {
    if (arriving || a.start > 0 || !a.dump_z.empty() || !a.out.file.empty() || !a.out.folder.empty()) {
      refuse("--verify-stream writes nothing; it goes without -o, -d, --start, --dump-z, --stream and --live-in");
    }
  } else {
    a.out.check(inputs);
  }
  if ((!a.z.empty() || !a.dump_z.empty()) && inputs.size() > 1) refuse("--z and --dump-z go with one input");
  if (arriving && (!a.dump_z.empty() || a.start > 0)) {
    refuse("--dump-z and --start need the whole mel; they do not go with --stream and --live-in");
  }
}

}  // namespace

int run_synth(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  SynthArguments a;
  VoiceOptions v;
  add_options(app, inputs, a, v);
  parse(app, std::move(arguments));
  if (!a.verify && a.out.file.empty() && a.out.folder.empty()) a.out.file = unnamed_output(a, inputs);
  check(inputs, a);
  refuse_unheard(app, inputs, a);
  catch_signals();
  const auto synthesizer = v.open();
  if (a.stream.asked(inputs)) {
    const auto frames = a.stream.open(inputs, synthesizer.voice(), a.raw_input);
    const std::string name = a.stream.live_in.empty() ? "-" : a.stream.live_in;
    return for_each_item({name}, json_stream(a.json, a.out.file), [&](const std::string& input) {
      return synthesize_stream(a, v, synthesizer, input, *frames);
    });
  }
  const auto lines = json_stream(a.json, a.out.file);
  if (a.verify)
    return for_each_item(inputs, lines, [&](const auto& input) { return verify(a, v, synthesizer, input); });
  const int at_once = synthesizer.streams_at_once();
  const bool alone = at_once == 1 || inputs.size() == 1;
  const auto speak_one = [&](const auto& input) { return synthesize(a, v, synthesizer, input, alone); };
  return for_each_item(inputs, lines, speak_one, at_once);
}

}  // namespace melflow::tools
