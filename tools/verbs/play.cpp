#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>

#include "audio/portaudio_io.h"
#include "base/error.h"
#include "tools/cli/batch.h"
#include "tools/cli/frames.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/playback.h"
#include "tools/cli/signals.h"
#include "tools/cli/sound_ahead.h"
#include "tools/cli/terminal_keys.h"
#include "tools/cli/voice_options.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

struct PlayArguments {
  VoiceOptions voice;
  RawFormat raw;
  StreamOptions stream;
  std::string device_out;
  double prebuffer = -1;
  bool json = false;

  bool live() const { return !stream.live_in.empty() || (stream.stream && !raw.format.empty()); }
  double prebuffer_seconds() const { return prebuffer >= 0 ? prebuffer : live() ? 0.02 : 0.2; }
};

/// The thread that computes. What it fails with arrives at the reader of `sound`.
class Computing {
 public:
  Computing(SoundAhead& sound, std::function<void()> work)
      : sound_(sound), thread_([&sound, work = std::move(work)] {
          try {
            work();
            sound.close();
          } catch (const SoundAhead::Stopped&) {
            sound.close();
          } catch (...) {
            sound.close(std::current_exception());
          }
        }) {}
  ~Computing() {
    sound_.stop();
    leave_stdin();
    thread_.join();
    leave_stdin(false);  // it may be the next input
  }
  Computing(const Computing&) = delete;
  Computing& operator=(const Computing&) = delete;

 private:
  SoundAhead& sound_;
  std::thread thread_;
};

/// After a signal, when the sound has stopped: a large model computes for seconds before it looks up, and LibTorch
/// takes half a second to leave. Nobody who pressed Ctrl-C waits for that, and playing leaves nothing half written.
[[noreturn]] void leave_at_once() {
  restore_terminal();
  std::cout.flush();
  std::fflush(nullptr);
  std::_Exit(signal_exit_code());
}

/// Where the sound comes from: a whole mel, or frames that arrive.
struct Speech {
  std::optional<Spoken> whole;
  std::unique_ptr<Frames> frames;
};

nlohmann::json play(const PlayArguments& a, engine::Synthesizer& synthesizer, const std::string& input,
                    const Speech& speech) {
  const auto& voice = synthesizer.voice();
  const auto rate = static_cast<size_t>(voice.mel.sample_rate);
  const auto length = speech.whole ? static_cast<size_t>(speech.whole->length(voice.mel.hop_length)) : size_t{0};
  constexpr size_t kAhead = 10, kBehind = 600;  // seconds
  SoundAhead sound(kAhead * rate, kBehind * rate);
  size_t made = 0;
  const auto keep = [&](std::span<const float> piece) {
    engine::require_finite(piece, input, voice.name);
    // A copy is as long as its recording.
    if (length > 0) piece = piece.first(std::min(piece.size(), length - made));
    made += piece.size();
    sound.append(piece);
  };
  // The device first: who has none should not wait for the voice.
  Playback playback({.device = a.device_out,
                     .sample_rate = voice.mel.sample_rate,
                     .length = length,
                     .prebuffer = a.prebuffer_seconds(),
                     .live = a.live()},
                    sound);
  const engine::Noise noise(a.voice.seed);
  const Computing computing(sound, [&] {
    if (speech.whole) {
      synthesizer.run(speech.whole->mel, noise, keep);
    } else {
      speak(*speech.frames, voice.mel.n_mels, *synthesizer.open_stream(noise), keep);
    }
  });
  constexpr size_t kDelays = 65536;  // the last two minutes', of which the median is told
  std::vector<double> delays;
  size_t looks = 0;
  playback.run([&](double place) {
    if (!a.live() || place <= 0) return;
    const double delay = speech.frames->seconds_in() - place;
    if (delays.size() < kDelays) {
      delays.push_back(delay);
    } else {
      delays[looks % kDelays] = delay;
    }
    ++looks;
  });
  if (stop_requested()) leave_at_once();
  playback.warn(input);
  auto item = playback.report(input);
  if (!delays.empty()) {
    const auto middle = delays.begin() + static_cast<ptrdiff_t>(delays.size() / 2);
    std::nth_element(delays.begin(), middle, delays.end());
    item["latency"] = *middle + item["device_latency"].get<double>();
    std::fprintf(stderr, "%s: from sound to sound in %.0f ms\n", one_line(input).c_str(),
                 1000 * item["latency"].get<double>());
  }
  return item;
}

/// A clock's file holds what is heard of one input; a pipe takes all.
void require_one_for_a_file(const std::string& device, size_t inputs) {
  if (inputs <= 1 || !audio::is_clock_name(device)) return;
  const std::filesystem::path heard = audio::clock_file(device);
  std::error_code not_there;
  if (std::filesystem::exists(heard, not_there) && !std::filesystem::is_regular_file(heard, not_there)) return;
  throw Error(Exit::usage, device + ": holds what is heard of one input, " + std::to_string(inputs) +
                               " were named; play them one by one");
}

}  // namespace

int run_play(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  PlayArguments a;
  app.add_option("inputs", inputs, "mels (.npy, .npz, .pt, .safetensors) or recordings; - is a mel on stdin");
  a.voice.add_to(app);
  app.add_option("--device-out", a.device_out,
                 "sound device, by its name or a part of it (melflow devices lists them); clock:FILE plays into a file "
                 "in real time");
  app.add_option("--prebuffer", a.prebuffer, "seconds of sound that must wait before the first is heard")
      ->check(within(0.0, 60.0));
  app.add_flag("--stream", a.stream.stream, "frames on stdin are spoken as they arrive");
  app.add_option("--live-in", a.stream.live_in, "speak what a recording device hears; - is raw PCM on stdin");
  app.add_option("--rate", a.raw.rate, "raw PCM on stdin instead of a mel: its rate, Hz")
      ->check(CLI::Range(100, 10'000'000));
  app.add_option("--format", a.raw.format, "raw PCM on stdin: pcm16, pcm24, float32");
  app.add_flag("--json", a.json, "one JSON object an item on stdout");
  parse(app, std::move(arguments));
  if (inputs.empty() && a.stream.live_in.empty())
    throw Error(Exit::usage, "nothing to play; name a mel or a recording");
  a.stream.refuse_unused(app, inputs, a.raw);
  require_one_for_a_file(a.device_out, inputs.size());
  catch_signals();
  // The device first: who has none should not wait for a voice.
  if (!audio::is_clock_name(a.device_out) && audio::list_devices().empty()) {
    throw Error(Exit::unavailable,
                "no sound device; melflow synth writes a file instead, and --device-out clock:FILE plays into one");
  }
  auto synthesizer = a.voice.open();
  if (a.stream.asked(inputs)) {
    const Speech speech{{}, a.stream.open(inputs, synthesizer.voice(), a.raw)};
    const std::string name = a.stream.live_in.empty() ? "-" : a.stream.live_in;
    return for_each_item({name}, json_stream(a.json),
                         [&](const std::string& input) { return play(a, synthesizer, input, speech); });
  }
  return for_each_item(inputs, json_stream(a.json), [&](const std::string& input) {
    return play(a, synthesizer, input, {read_spoken(input, synthesizer.voice(), a.raw), nullptr});
  });
}

}  // namespace melflow::tools
