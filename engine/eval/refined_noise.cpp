#include "engine/eval/refined_noise.h"

#include "audio/refiner.h"
#include "engine/noise.h"

namespace melflow::engine {
namespace {

audio::RefineOptions noise_refining(const audio::MelOptions& recipe) { return audio::RefineOptions::of(recipe, 8); }

}  // namespace

bool can_refine_noise(const audio::MelOptions& recipe) {
  return audio::Refiner::why_not(recipe, noise_refining(recipe)).empty();
}

audio::Waveform refined_noise(const audio::Mel& mel, const audio::MelOptions& recipe, uint64_t seed) {
  constexpr float kLoudness = 0.05f;  // of speech, so that few passes have far to go
  audio::Refiner refiner(recipe, noise_refining(recipe));
  audio::Waveform out{{}, recipe.sample_rate};
  std::vector<float> frames, samples(static_cast<size_t>(mel.frames) * static_cast<size_t>(recipe.hop_length));
  audio::append_frames(mel, 0, mel.frames, frames);
  for (size_t t = 0; t < samples.size(); ++t) samples[t] = kLoudness * normal_at(seed, 0, static_cast<int64_t>(t));
  refiner.push(frames, samples, out.samples);
  refiner.finish(out.samples);
  return out;
}

}  // namespace melflow::engine
