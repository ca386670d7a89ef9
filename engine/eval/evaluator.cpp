#include "engine/eval/evaluator.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/griffin_lim.h"
#include "audio/quality.h"
#include "engine/eval/pesq.h"
#include "engine/eval/refined_noise.h"
#include "engine/eval/score.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// Runs `make` and answers its sound; `rate` becomes the seconds of it per second of computing.
template <typename Make>
audio::Waveform timed(double& rate, const Make& make) {
  const auto start = Clock::now();
  auto sound = make();
  rate = sound.seconds() / std::chrono::duration<double>(Clock::now() - start).count();
  return sound;
}

/// Two sounds, cut to the shorter.
void add_pair(PesqRun& pesq, audio::Waveform reference, audio::Waveform degraded) {
  const auto samples = std::min(reference.samples.size(), degraded.samples.size());
  reference.samples.resize(samples);
  degraded.samples.resize(samples);
  pesq.add(reference, degraded);
}

EvalItem evaluate_one(const ModelVoice& voice, Synthesizer& synthesizer, Recording recording, const std::string& name,
                      const EvalOptions& options, bool measure_noise, PesqRun& pesq) {
  const auto hop = voice.model->hop_length(), group = voice.model->group_size();
  EvalItem item;
  item.name = name;
  item.seconds = recording.sound.seconds();
  item.gain = recording.gain;

  double voice_rate = 0, floor_rate = 0;
  item.synthesis = timed(voice_rate, [&] { return synthesizer(recording.mel, Noise(options.seed)); });
  require_finite(item.synthesis.samples, name, voice.name);
  item.voice = measure(recording.sound, item.synthesis, voice.mel, group);
  item.voice.real_time_factor = voice_rate;
  auto likelihood = score(*voice.model, whole_frames(recording.sound, hop), mel_tensor(recording.mel));
  item.voice.nats_per_sample = likelihood.nats_per_sample;
  item.per_frame = std::move(likelihood.per_frame);

  item.griffin_lim_sound = timed(floor_rate, [&] {
    return audio::griffin_lim(recording.mel, voice.mel,
                              {.iterations = options.griffin_lim_iterations, .seed = options.seed});
  });
  item.griffin_lim = measure(recording.sound, item.griffin_lim_sound, voice.mel, group);
  item.griffin_lim.real_time_factor = floor_rate;

  item.first_pair = pesq.pairs();
  add_pair(pesq, recording.sound, item.synthesis);
  add_pair(pesq, recording.sound, item.griffin_lim_sound);
  if (measure_noise) {
    double noise_rate = 0;
    auto noise = timed(noise_rate, [&] { return refined_noise(recording.mel, voice.mel, options.seed); });
    item.refined_noise = measure(recording.sound, noise, voice.mel, group);
    item.refined_noise.real_time_factor = noise_rate;
    add_pair(pesq, recording.sound, std::move(noise));
  }
  item.recording = std::move(recording.sound);
  return item;
}

/// What a first call costs (caches, threads, a GPU's start) belongs to no recording: a second of silence pays for it.
void warm_up(Synthesizer& synthesizer) {
  const auto& recipe = synthesizer.voice().mel;
  audio::Mel mel{recipe.n_mels, recipe.sample_rate / recipe.hop_length + 1, {}, recipe};
  mel.values.assign(static_cast<size_t>(mel.n_mels) * mel.frames, static_cast<float>(std::log(recipe.log_floor)));
  synthesizer(mel, Noise(0));
}

/// A recording that failed after its first pair has left pairs of no item.
void take_pesq(Evaluation& out, bool measured_noise, const PesqRun::Result& result) {
  out.pesq_absent = result.absent;
  for (auto& item : out.items) {
    item.voice.pesq = result.scores[item.first_pair];
    item.griffin_lim.pesq = result.scores[item.first_pair + 1];
    if (measured_noise) item.refined_noise.pesq = result.scores[item.first_pair + 2];
  }
}

json measures_json(const Measures& measures) {
  json out;
  for (const auto& [key, value, better] : kMeasures) {
    if (std::isfinite(measures.*value)) {
      out[key] = measures.*value;
    } else {
      out[key] = nullptr;
    }
  }
  return out;
}

}  // namespace

Measures measure(const audio::Waveform& recording, const audio::Waveform& synthesis, const audio::MelOptions& recipe,
                 int64_t group_size) {
  const auto quality = audio::compare(recording, synthesis, recipe, static_cast<int>(std::max<int64_t>(group_size, 2)));
  Measures out;
  out.log_stft = quality.log_stft;
  out.spectral_convergence = quality.spectral_convergence;
  out.mel_l1 = quality.mel_l1;
  out.voicing_f1 = quality.voicing_f1;
  out.pitch_error_cents = quality.pitch_error_cents;
  out.hum_db = quality.hum_db;
  return out;
}

std::vector<const EvalItem*> Evaluation::compared(double Measures::*measure) const {
  std::vector<Measures EvalItem::*> known_ways;
  for (const auto way : {&EvalItem::voice, &EvalItem::griffin_lim, &EvalItem::refined_noise}) {
    const auto known = [&](const EvalItem& item) { return std::isfinite((item.*way).*measure); };
    if (std::ranges::any_of(items, known)) known_ways.push_back(way);
  }
  std::vector<const EvalItem*> out;
  for (const auto& item : items) {
    const auto known = [&](auto way) { return std::isfinite((item.*way).*measure); };
    if (!known_ways.empty() && std::ranges::all_of(known_ways, known)) out.push_back(&item);
  }
  return out;
}

Measures Evaluation::mean(Measures EvalItem::*way) const {
  Measures out;
  for (const auto& name : kMeasures) {
    const auto of = compared(name.value);
    double sum = 0;
    for (const auto* item : of) sum += (item->*way).*name.value;
    if (!of.empty()) out.*name.value = sum / static_cast<double>(of.size());
  }
  return out;
}

Evaluation evaluate(const ModelVoice& voice, const Clips& recordings, const EvalOptions& options,
                    const std::function<bool()>& stop, const std::function<void(size_t, size_t)>& report) {
  Evaluation out;
  out.voice = voice.name;
  out.mel = voice.mel;
  out.denoise = options.denoise;
  out.seed = options.seed;
  voice.model->to(options.device);
  auto synthesizer = synthesizer_of(
      voice, {.sigma = options.sigma, .draws = options.draws, .refine = options.refine, .denoise = options.denoise});
  out.sigma = synthesizer.sigma();
  out.draws = synthesizer.draws();
  out.refine = synthesizer.refining_passes();
  warm_up(synthesizer);
  PesqRun pesq;
  const bool measure_noise = can_refine_noise(voice.mel);
  const auto count = recordings.places.size();
  for (size_t i = 0; i < count && !stop(); ++i) {
    report(i, count);
    const auto& place = recordings.places[i];
    const auto name = recordings.name(place);
    try {
      auto item = evaluate_one(voice, synthesizer, read_recording(recordings, place, voice), name, options,
                               measure_noise, pesq);
      if (out.items.size() >= options.keep_sounds) item.recording = item.synthesis = item.griffin_lim_sound = {};
      out.items.push_back(std::move(item));
    } catch (const Error& e) {
      const std::string text = e.what();
      out.failures.push_back({text.starts_with(name) ? text : name + ": " + text, e.code()});
    }
  }
  report(count, count);
  if (!out.items.empty() && !stop()) take_pesq(out, measure_noise, pesq.finish(stop));
  return out;
}

json to_json(const Evaluation& evaluation) {
  json out = measures_json(evaluation.mean(&EvalItem::voice));
  out["griffin_lim"] = measures_json(evaluation.mean(&EvalItem::griffin_lim));
  out["refined_noise"] = measures_json(evaluation.mean(&EvalItem::refined_noise));
  for (const auto& name : kMeasures) out["compared"][name.key] = evaluation.compared(name.value).size();
  out["voice"] = evaluation.voice;
  out["sigma"] = evaluation.sigma;
  out["draws"] = evaluation.draws;
  out["refine"] = evaluation.refine;
  out["denoise"] = evaluation.denoise;
  out["seed"] = evaluation.seed;
  if (!evaluation.pesq_absent.empty()) out["pesq_absent"] = evaluation.pesq_absent;
  double seconds = 0;
  auto& recordings = out["recordings"] = json::array();
  for (const auto& item : evaluation.items) {
    auto one = measures_json(item.voice);
    one["griffin_lim"] = measures_json(item.griffin_lim);
    one["refined_noise"] = measures_json(item.refined_noise);
    one["path"] = item.name;
    one["seconds"] = item.seconds;
    one["gain"] = item.gain;
    recordings.push_back(std::move(one));
    seconds += item.seconds;
  }
  out["seconds"] = seconds;
  auto& failed = out["failed"] = json::array();
  for (const auto& failure : evaluation.failures) failed.push_back(failure.message);
  return out;
}

}  // namespace melflow::engine
