#include "engine/eval/score.h"

#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include "audio/sound_file.h"
#include "base/error.h"
#include "engine/files/mel_file.h"
#include "engine/tensors.h"
#include "models/flow/flow.h"

namespace melflow::engine {
namespace {

double mean_square(std::span<const float> samples) {
  double sum = 0;
  for (const float s : samples) sum += static_cast<double>(s) * s;
  return samples.empty() ? 0.0 : sum / static_cast<double>(samples.size());
}

void require_length(const audio::Waveform& sound, const std::string& name, int least) {
  if (sound.samples.size() >= static_cast<size_t>(least)) return;
  throw Error(Exit::bad_data, name + ": only " + std::to_string(sound.samples.size()) + " samples at " +
                                  std::to_string(sound.sample_rate) + " Hz; at least " + std::to_string(least) +
                                  " are needed");
}

Recording as_recording(audio::Waveform sound, const std::string& name, const Voice& voice, Loudness loudness) {
  require_length(sound, name, std::max(voice.mel.n_fft, voice.mel.hop_length));
  Recording out{std::move(sound), {}, 1.0};
  if (loudness == Loudness::of_voice && voice.level > 0) {
    if (is_silent(out.sound.samples)) {
      throw Error(Exit::bad_data, name + ": is silent, it cannot be brought to the voice's level");
    }
    out.gain = voice.level / std::sqrt(mean_square(out.sound.samples));
    for (auto& s : out.sound.samples) s = static_cast<float>(s * out.gain);
  }
  out.mel = audio::MelExtractor(voice.mel)(out.sound);
  return out;
}

/// The groups of frames [begin, end) only: value [1, group, groups], local [1, groups]; log_det is left out.
models::Mapped score_tile(models::Vocoder& model, const torch::Tensor& x, const torch::Tensor& mel, int64_t begin,
                          int64_t end) {
  const auto hop = model.hop_length(), groups = hop / model.group_size();
  const auto reach = model.reach();
  const auto first = std::max<int64_t>(0, begin - reach.history_frames - model.warmup_frames());
  const auto last = std::min(x.size(1) / hop, end + reach.lookahead_frames);
  const auto last_of_mel = last == x.size(1) / hop ? mel.size(2) : last;  // what lies behind the end is seen, too
  const auto device = model.parameters().at(0).device();
  const auto mapped = model.forward(x.narrow(1, first * hop, (last - first) * hop).to(device),
                                    mel.narrow(2, first, last_of_mel - first).to(device));
  const auto skipped = (begin - first) * groups, count = (end - begin) * groups;
  return {mapped.value.narrow(2, skipped, count), {}, mapped.local.narrow(1, skipped, count)};
}

}  // namespace

bool is_silent(std::span<const float> samples) { return mean_square(samples) < kSilentPower; }

Score score(models::Vocoder& model, const torch::Tensor& x, const torch::Tensor& mel, int64_t tile_frames) {
  torch::NoGradGuard no_grad;
  const auto hop = model.hop_length(), groups = hop / model.group_size(),
             frames = x.size(-1) / hop;  // of a frame; of x
  TORCH_CHECK(x.dim() == 2 && x.size(0) == 1 && frames > 0 && x.size(1) % hop == 0, "score: x is ", x.sizes(),
              ", not [1, a multiple of ", hop, "]");
  TORCH_CHECK(mel.dim() == 3 && mel.size(0) == 1 && mel.size(2) >= frames, "score: mel is ", mel.sizes(), " for x ",
              x.sizes());
  std::vector<torch::Tensor> z, nats;
  for (int64_t begin = 0; begin < frames; begin += tile_frames) {
    const auto tile = score_tile(model, x, mel, begin, std::min(begin + tile_frames, frames));
    z.push_back(tile.value[0].to(torch::kCPU, torch::kFloat32));
    // The sums run over millions of samples: in double.
    const models::Mapped exact{tile.value.to(torch::kFloat64), tile.log_det, tile.local.to(torch::kFloat64)};
    nats.push_back(nats_by_group(exact, model.group_size())[0].to(torch::kCPU));
  }
  const auto by_frame = torch::cat(nats).view({frames, groups}).mean(1);
  Score result;
  result.loss = by_frame.mean().item<double>();
  result.nats_per_sample = result.loss + models::kHalfLog2Pi;
  result.per_frame = tensor_vector(by_frame + models::kHalfLog2Pi);
  result.z = torch::cat(z, 1).contiguous();
  result.noise_power = result.z.to(torch::kFloat64).square().mean().item<double>();
  return result;
}

torch::Tensor whole_frames(const audio::Waveform& sound, int64_t hop_length) {
  const auto samples = static_cast<int64_t>(sound.samples.size()) / hop_length * hop_length;
  return vector_tensor(std::span(sound.samples).first(static_cast<size_t>(samples))).unsqueeze(0);
}

Recording read_recording(const std::filesystem::path& path, const Voice& voice, Loudness loudness) {
  return as_recording(audio::read_audio(path, {.sample_rate = voice.mel.sample_rate}), path.string(), voice, loudness);
}

Recording read_recording(const Clips& clips, const ClipPlace& place, const Voice& voice, Loudness loudness) {
  return as_recording(read_clip(clips, place, voice.mel.sample_rate), clips.name(place), voice, loudness);
}

Recording read_recording(const std::filesystem::path& path, const Voice& voice, const std::filesystem::path& mel) {
  Recording out{audio::read_audio(path, {.sample_rate = voice.mel.sample_rate}), files::read_mel(mel, voice.mel.n_mels),
                1.0};
  require_length(out.sound, path.string(), voice.mel.hop_length);
  require_same_recipe(out.mel, voice, mel.string());
  const auto frames = static_cast<int64_t>(out.sound.samples.size()) / voice.mel.hop_length;
  // A centred mel has one frame more than the recording fills; some programs pad by one more.
  if (out.mel.frames < frames || out.mel.frames > frames + 2) {
    throw Error(Exit::bad_data, mel.string() + ": has " + std::to_string(out.mel.frames) + " frames, but " +
                                    path.string() + " fills " + std::to_string(frames) +
                                    "; is it the mel of this recording?");
  }
  return out;
}

}  // namespace melflow::engine
