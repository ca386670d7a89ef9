#include "engine/train/dataset.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <torch/torch.h>

#include "audio/error.h"
#include "audio/wav.h"
#include "engine/noise.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

double energy(const std::vector<int16_t>& samples) {
  double sum = 0;
  for (const int16_t s : samples) sum += static_cast<double>(s) * s;
  return sum / (32768.0 * 32768.0);
}

Clip load_clip(const fs::path& path, const audio::MelOptions& recipe) {
  const auto sound = audio::read_audio(path, {.sample_rate = recipe.sample_rate});
  if (sound.samples.size() < static_cast<size_t>(recipe.n_fft)) {
    throw Error(Exit::bad_data, path.string() + ": only " + std::to_string(sound.samples.size()) +
                                    " samples, less than one STFT window");
  }
  Clip clip{path, {}, {}};
  clip.samples.reserve(sound.samples.size());
  for (const float s : sound.samples) {
    clip.samples.push_back(static_cast<int16_t>(std::lrint(std::clamp(s * 32768.0f, -32768.0f, 32767.0f))));
  }
  // Its mel is a constant from which nothing can be learned.
  if (energy(clip.samples) / static_cast<double>(clip.samples.size()) < kSilentPower) {
    throw Error(Exit::bad_data, path.string() + ": is silent");
  }
  return clip;
}

/// Samples [first, first + count) at the corpus level; silence before the start and behind the end.
std::vector<float> at_level(const Clip& clip, double gain, int64_t first, size_t count) {
  std::vector<float> out(count, 0.0f);
  const auto scale = static_cast<float>(gain / 32768.0);
  const auto size = static_cast<int64_t>(clip.samples.size());
  for (int64_t i = std::max<int64_t>(first, 0); i < std::min(first + static_cast<int64_t>(count), size); ++i) {
    out[static_cast<size_t>(i - first)] = static_cast<float>(clip.samples[static_cast<size_t>(i)]) * scale;
  }
  return out;
}

/// Uniform in [0, 1), a pure function of its arguments.
double uniform(int64_t seed, uint64_t stream, uint64_t index) {
  return philox(index, stream, static_cast<uint64_t>(seed)).v[0] * 0x1p-32;
}

// Streams of random numbers of one seed; the noise of synthesis uses small channel numbers and is far away.
constexpr uint64_t kClipStream = uint64_t{1} << 40, kCropStream = kClipStream + 1, kDequantiseStream = kClipStream + 2;

}  // namespace

std::vector<fs::path> audio_files(const fs::path& folder) {
  static const std::set<std::string> kinds{".wav",  ".flac", ".ogg", ".mp3", ".aif",
                                           ".aiff", ".au",   ".caf", ".w64", ".opus"};
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    auto kind = it->path().extension().string();
    std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
    if (it->is_regular_file(error) && kinds.contains(kind)) found.push_back(it->path());
  }
  if (error) throw Error(Exit::no_input, folder.string() + ": cannot be read (" + error.message() + ")");
  if (found.empty())
    throw Error(Exit::no_input, folder.string() + ": holds no audio files; name a folder of recordings");
  std::sort(found.begin(), found.end());
  return found;
}

double Corpus::seconds() const {
  double samples = 0;
  for (const auto& clip : training) samples += static_cast<double>(clip.samples.size());
  return samples / sample_rate;
}

Corpus load_corpus(const fs::path& folder, const TrainConfig& config) {
  Corpus corpus;
  corpus.sample_rate = config.mel.sample_rate;
  std::vector<Clip> clips;
  for (const auto& path : audio_files(folder)) {
    try {
      clips.push_back(load_clip(path, config.mel));
    } catch (const Error& e) {
      corpus.refused.emplace_back(e.what());
    }
  }
  double sum = 0, count = 0;
  for (const auto& clip : clips) {
    sum += energy(clip.samples);
    count += static_cast<double>(clip.samples.size());
  }
  if (config.level > 0 && sum > 0) corpus.gain = config.level / std::sqrt(sum / count);

  audio::MelExtractor extractor(config.mel);
  for (size_t i = 0; i < clips.size(); ++i) {
    auto& clip = clips[i];
    const auto mel = extractor({at_level(clip, corpus.gain, 0, clip.samples.size()), corpus.sample_rate});
    clip.mel = mel_tensor(mel)[0];
    const bool held_out = config.hold_out_every > 0 && i % static_cast<size_t>(config.hold_out_every) == 0;
    (held_out ? corpus.held_out : corpus.training).push_back(std::move(clip));
  }
  if (corpus.training.empty()) {
    throw Error(Exit::no_input,
                folder.string() + ": no usable recording is left to train on" +
                    (corpus.refused.empty() ? "" : "; the first that was refused: " + corpus.refused[0]));
  }
  return corpus;
}

namespace {

/// Uniform dequantisation noise of the given width, by absolute position in the stream of the training.
void dequantise(std::vector<float>& x, double width, int64_t seed, uint64_t crop) {
  if (width <= 0) return;
  for (size_t i = 0; i < x.size(); i += 4) {
    const auto u = philox((crop << 32) + i, kDequantiseStream, static_cast<uint64_t>(seed));
    for (size_t j = i; j < std::min(i + 4, x.size()); ++j) {
      x[j] += static_cast<float>((u.v[j - i] * 0x1p-32 - 0.5) * width);
    }
  }
}

/// Frames [first, first + count) of a mel [n_mels, frames]; silence before its start and behind its end.
torch::Tensor mel_frames(const torch::Tensor& mel, int64_t first, int64_t count, double silence) {
  auto out = torch::full({mel.size(0), count}, silence);
  const auto begin = std::max<int64_t>(first, 0), end = std::min(first + count, mel.size(1));
  if (end > begin) out.narrow(1, begin - first, end - begin).copy_(mel.narrow(1, begin, end - begin));
  return out;
}

}  // namespace

Batch training_batch(const Corpus& corpus, const TrainConfig& config, int64_t warmup_frames, int64_t lookahead_frames,
                     int64_t step) {
  const int64_t hop = config.mel.hop_length, frames = warmup_frames + config.segment_frames;
  // Clips are drawn by their length, so that every moment of the corpus is as likely as any other.
  std::vector<double> ends;
  double total = 0;
  for (const auto& clip : corpus.training) ends.push_back(total += static_cast<double>(clip.samples.size()));

  std::vector<torch::Tensor> x, mel;
  for (int64_t b = 0; b < config.batch_size; ++b) {
    const auto index = static_cast<uint64_t>(step * config.batch_size + b);
    const double where = uniform(config.seed, kClipStream, index) * total;
    const auto chosen = static_cast<size_t>(std::lower_bound(ends.begin(), ends.end(), where) - ends.begin());
    const auto& clip = corpus.training[std::min(chosen, ends.size() - 1)];
    // The segment lies anywhere in the clip; its past may reach before the start, where there is silence.
    const auto spare = std::max<int64_t>(0, static_cast<int64_t>(clip.samples.size()) / hop - config.segment_frames);
    const auto first =
        static_cast<int64_t>(uniform(config.seed, kCropStream, index) * static_cast<double>(spare + 1)) - warmup_frames;
    auto samples = at_level(clip, corpus.gain, first * hop, static_cast<size_t>(frames * hop));
    dequantise(samples, config.dequantise * corpus.gain / 32768.0, config.seed, index);
    x.push_back(vector_tensor(samples));
    mel.push_back(mel_frames(clip.mel, first, frames + lookahead_frames, std::log(config.mel.log_floor)));
  }
  return {torch::stack(x), torch::stack(mel)};
}

Batch whole_clip(const Clip& clip, const Corpus& corpus, const TrainConfig& config) {
  const auto frames = static_cast<int64_t>(clip.samples.size()) / config.mel.hop_length;
  const auto samples = static_cast<size_t>(frames * config.mel.hop_length);
  return {vector_tensor(at_level(clip, corpus.gain, 0, samples)).unsqueeze(0), clip.mel.unsqueeze(0)};
}

}  // namespace melflow::engine
