#include <algorithm>
#include <cmath>

#include "audio/griffin_lim.h"
#include "engine/files/mel_file.h"
#include "engine/kernels/thread_team.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"
#include "tools/cli/shipped_voices.h"

namespace melflow::tools {
namespace {

/// [count, n_mels] → a mel.
audio::Mel mel_of(const std::vector<float>& frames, const audio::MelOptions& recipe) {
  const auto bands = static_cast<size_t>(recipe.n_mels), count = frames.size() / bands;
  audio::Mel mel{recipe.n_mels, static_cast<int>(count), std::vector<float>(frames.size()), recipe};
  for (size_t t = 0; t < count; ++t) {
    for (size_t m = 0; m < bands; ++m) mel.values[m * count + t] = frames[t * bands + m];
  }
  return mel;
}

/// The largest difference between the sound and what frames that arrive one by one make.
double difference_from_stream(const engine::Synthesizer& synthesizer, const engine::Noise& noise,
                              std::span<const float> frames, std::span<const float> sound) {
  const auto bands = static_cast<size_t>(synthesizer.voice().mel.n_mels);
  const auto stream = synthesizer.open_stream(noise);
  std::vector<float> out;
  for (size_t at = 0; at < frames.size(); at += bands) stream->add(frames.subspan(at, bands), out);
  stream->finish(out);
  if (out.size() != sound.size()) return INFINITY;
  double worst = 0;
  for (size_t i = 0; i < out.size(); ++i) worst = std::max<double>(worst, std::abs(out[i] - sound[i]));
  return worst;
}

}  // namespace

std::vector<float> sample_frames(const audio::MelOptions& recipe, double seconds) {
  const auto mel = files::read_mel(data_folder() / "samples/sentence.npy", recipe.n_mels);
  std::vector<float> frames;
  for (auto left = static_cast<int64_t>(std::ceil(seconds * recipe.sample_rate / recipe.hop_length)); left > 0;) {
    const auto count = static_cast<int>(std::min<int64_t>(left, mel.frames));
    audio::append_frames(mel, 0, count, frames);
    left -= count;
  }
  return frames;
}

nlohmann::json spoken_by(const engine::Synthesizer& synthesizer, const VoiceOptions& o) {
  const auto& voice = synthesizer.voice();
  return {{"voice", voice.name},
          {"device", o.device},
          {"precision", !o.precision.empty() ? o.precision
                        : o.device == "cpu"  ? "fp32"
                                             : "the device's own"},
          {"sigma", synthesizer.sigma()},
          {"seed", o.seed},
          {"draws", synthesizer.draws()},
          {"refine", synthesizer.refining_passes()},
          {"denoise", o.denoise},
          {"latency_ms", o.latency},
          {"threads", engine::threads_for(o.threads)}};
}

void bench_synth(const VoiceOptions& options, double seconds, const Print& print) {
  const auto synthesizer = options.open();
  const auto& recipe = synthesizer.voice().mel;
  const auto frames = sample_frames(recipe, seconds);
  const auto mel = mel_of(frames, recipe);
  const int threads = engine::threads_for(options.threads);
  const engine::Noise noise(options.seed);
  auto sound = synthesizer(mel, noise);
  auto what = spoken_by(synthesizer, options);
  what["seconds_of_sound"] = sound.seconds();
  Measurement measurement("synth", what, multiply_add_peak(cpu::Precision::fp32, threads));
  Times ours, rival;
  audio::griffin_lim(mel, recipe);  // both have run once before they are timed
  for (int round = 0; round < 5; ++round) {
    ours.take([&] { sound = synthesizer(mel, noise); });
    measurement.look();
    rival.take([&] { audio::griffin_lim(mel, recipe); });
  }
  print(measurement.report({{"seconds", ours.json()},
                            {"real_time_factor", sound.seconds() / ours.median()},
                            {"best_real_time_factor", sound.seconds() / ours.min()}},
                           {{"what", "Griffin-Lim, 60 iterations, one thread"},
                            {"seconds", rival.json()},
                            {"real_time_factor", sound.seconds() / rival.median()}},
                           {{"what", "largest difference from frames that arrive one by one"},
                            {"value", difference_from_stream(synthesizer, noise, frames, sound.samples)}}));
}

}  // namespace melflow::tools
