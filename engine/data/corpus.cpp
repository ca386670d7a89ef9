#include "engine/data/corpus.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <span>

#include "base/error.h"
#include "engine/files/crc32c.h"
#include "engine/files/npy.h"
#include "engine/parallel.h"

namespace melflow::engine {
namespace {

/// Recordings that a validation listens to: enough for a stable mean, few enough to be quick.
constexpr size_t kValidationClips = 32;
/// Recordings by which the level of a corpus is judged that is not decoded as a whole.
constexpr size_t kLevelClips = 128;

double energy(const Sound& sound) {
  double sum = 0;
  for (const int16_t s : sound.samples) sum += static_cast<double>(s) * s;
  return sum * sound.scale * sound.scale / (32768.0 * 32768.0);
}

void take_samples(std::vector<float> samples, Sound& sound) {
  constexpr float kLoudest = 64;  // 36 dB over full scale is no recording's level, and would set that of all others
  for (const float s : samples) sound.scale = std::max(sound.scale, std::abs(s));
  if (sound.scale > kLoudest) {
    throw Error(Exit::bad_data, sound.name + ": goes to " + std::to_string(std::llround(sound.scale)) +
                                    " times full scale; bring its samples to -1 to 1");
  }
  if (sound.scale > 1) {
    for (float& s : samples) s /= sound.scale;
  }
  sound.samples = audio::to_int16(samples);
}

/// A mel that came along, checked against its recording.
void take_mel(const files::NpyArray& array, const audio::MelOptions& recipe, Sound& sound) {
  const auto needed = static_cast<int64_t>(sound.samples.size()) / recipe.hop_length;
  const auto& shape = array.shape;
  const bool fits = shape.size() == 2 && shape[0] == recipe.n_mels && shape[1] >= needed && shape[1] <= needed + 2;
  if (!fits) {
    throw Error(Exit::bad_data, sound.name + ": its mel must be [" + std::to_string(recipe.n_mels) + ", " +
                                    std::to_string(needed) + " to " + std::to_string(needed + 2) + "]");
  }
  if (!std::ranges::all_of(array.values, [](float v) { return std::isfinite(v); })) {
    throw Error(Exit::bad_data, sound.name + ": its mel holds NaN or infinity");
  }
  sound.mel = array.values;
  sound.mel_frames = shape[1];
}

}  // namespace

/// Decoded by the first who asks; the others wait for that.
class Corpus::Slot {
 public:
  explicit Slot(int32_t number) : place(number) {}
  const int32_t place;
  std::once_flag once;
  std::shared_ptr<const Sound> sound;
  std::exception_ptr failure;  ///< other than a recording that cannot be used
};

Corpus::Corpus(Clips clips, const CorpusOptions& options, std::function<void(const std::string&)> refused)
    : clips_(std::move(clips)), options_(options), refused_(std::move(refused)), slots_(clips_.places.size()) {
  for (const auto& line : clips_.refused) refused_(line);
  auto kept_out = split();
  const int64_t window = std::max<int64_t>(options.shuffle_mb, 1) * (int64_t{1} << 20) / int64_t{sizeof(int16_t)};
  int64_t total = 0;
  for (const auto& place : clips_.places) total += place.samples;
  if (total <= window) {
    decode_all(training_);
    decode_all(kept_out);
  }
  require_training(kept_out.size());
  held_out_clips_ = static_cast<int64_t>(kept_out.size());
  require_crops();
  order_training(window);
  auto all = training_;
  all.insert(all.end(), kept_out.begin(), kept_out.end());
  if (options.level > 0) measure_level(all);
  choose_held_out(kept_out);
  // What is kept out is heard only in validations, which hold on to what they chose.
  std::erase_if(kept_, [&](const auto& slot) { return std::ranges::binary_search(kept_out, slot->place); });
}

std::vector<int32_t> Corpus::split() {
  std::vector<int32_t> kept_out;
  for (size_t i = 0; i < clips_.places.size(); ++i) {
    const bool out = options_.hold_out_every > 0 && i % static_cast<size_t>(options_.hold_out_every) == 0;
    (out ? kept_out : training_).push_back(static_cast<int32_t>(i));
    mels_beside_ += clips_.places[i].has_mel();
  }
  return kept_out;
}

void Corpus::require_training(size_t kept_out) const {
  if (!training_.empty()) return;
  if (clips_.refused.empty() && unusable_.empty()) {
    throw Error(Exit::no_input, "every recording (" + std::to_string(kept_out) +
                                    ") is kept out for validation; add more, or train on all with --set "
                                    "hold_out_every=0");
  }
  const auto& first = clips_.refused.empty() ? unusable_.begin()->second : clips_.refused[0];
  throw Error(Exit::no_input, "no usable recording is left to train on; the first that was refused: " + first);
}

void Corpus::require_crops() const {
  int64_t longest = 0;
  for (const auto place : training_) longest = std::max(longest, clips_.places[static_cast<size_t>(place)].samples);
  const int64_t most = longest / options_.mel.hop_length;
  if (options_.segment_frames <= most) return;
  throw Error(Exit::config, "train.segment_frames is " + std::to_string(options_.segment_frames) +
                                " mel frames of a crop, but the longest recording has " + std::to_string(most) +
                                "; take no more than that");
}

void Corpus::order_training(int64_t window) {
  std::vector<int64_t> samples;
  std::vector<bool> follows;
  for (size_t i = 0; i < training_.size(); ++i) {
    const auto& place = clips_.places[static_cast<size_t>(training_[i])];
    samples.push_back(place.samples);
    follows.push_back(i > 0 && place.shard == clips_.places[static_cast<size_t>(training_[i - 1])].shard);
  }
  const SampleOrder::Options options{options_.seed, options_.segment_frames * options_.mel.hop_length, window};
  order_ = std::make_unique<SampleOrder>(samples, follows, options);
}

double Corpus::seconds() const {
  double samples = 0;
  for (const auto place : training_) samples += static_cast<double>(clips_.places[static_cast<size_t>(place)].samples);
  return samples / options_.mel.sample_rate;
}

int64_t Corpus::digest() const {
  // Of all that the headers say: what turns out to be no sound is found before the first step, or later.
  std::string all = std::to_string(options_.hold_out_every) + " " + std::to_string(options_.level) + "\n";
  for (const auto& place : clips_.places) {
    all += std::filesystem::path(place.path).filename().string() + " " + std::to_string(place.samples) + "\n";
  }
  return files::crc32c(std::as_bytes(std::span(all)));
}

std::shared_ptr<const Sound> Corpus::decode(const ClipPlace& place) const {
  const auto& recipe = options_.mel;
  auto sound = std::make_shared<Sound>();
  sound->name = clips_.name(place);
  take_samples(read_clip(clips_, place, recipe.sample_rate).samples, *sound);
  if (sound->samples.size() < static_cast<size_t>(recipe.n_fft)) {
    throw Error(Exit::bad_data, sound->name + ": only " + std::to_string(sound->samples.size()) +
                                    " samples, less than one STFT window");
  }
  // Its mel is a constant from which nothing can be learned.
  if (energy(*sound) / static_cast<double>(sound->samples.size()) < kSilentPower) {
    throw Error(Exit::bad_data, sound->name + ": is silent");
  }
  if (options_.mels && place.has_mel()) {
    take_mel(files::parse_npy(read_mel_bytes(clips_, place), sound->name + ", its mel"), recipe, *sound);
  }
  return sound;
}

std::shared_ptr<Corpus::Slot> Corpus::slot_of(int32_t place) {
  const std::lock_guard lock(mutex_);
  auto& known = slots_[static_cast<size_t>(place)];
  auto slot = known.lock();
  if (!slot) known = slot = std::make_shared<Slot>(place);
  return slot;
}

std::shared_ptr<Corpus::Slot> Corpus::slot(int32_t training_clip) {
  return slot_of(training_[static_cast<size_t>(training_clip)]);
}

std::shared_ptr<const Sound> Corpus::sound(Slot& slot) {
  std::call_once(slot.once, [&] {
    // Nothing may be thrown out of here: others wait.
    try {
      slot.sound = decode(clips_.places[static_cast<size_t>(slot.place)]);
    } catch (const Error& e) {
      refuse(slot.place, e.what());
    } catch (...) {
      slot.failure = std::current_exception();
    }
  });
  if (slot.failure) std::rethrow_exception(slot.failure);
  return slot.sound;
}

void Corpus::refuse(int32_t place, const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (unusable_.emplace(place, line).second && !told_later_) refused_(line);
}

void Corpus::decode_all(std::vector<int32_t>& places) {
  std::vector<std::shared_ptr<Slot>> slots;
  for (const auto place : places) slots.push_back(slot_of(place));
  // Told in the order of paths, however many threads there are.
  told_later_ = true;
  parallel_for(slots.size(), options_.workers, [&](size_t i) { sound(*slots[i]); });
  told_later_ = false;
  for (const auto place : places) {
    if (const auto found = unusable_.find(place); found != unusable_.end()) refused_(found->second);
  }
  std::erase_if(places, [&](int32_t place) { return unusable_.contains(place); });
  for (auto& slot : slots) {
    if (slot->sound) kept_.push_back(std::move(slot));
  }
}

void Corpus::measure_level(const std::vector<int32_t>& places) {
  // A property of the corpus, not of the seed: the same recordings whoever asks.
  const size_t count = kept_.empty() ? std::min(kLevelClips, places.size()) : places.size();
  std::vector<double> sums(count), lengths(count);
  parallel_for(count, options_.workers, [&](size_t i) {
    const auto held = slot_of(places[i * places.size() / count]);
    if (const auto clip = sound(*held)) {
      sums[i] = energy(*clip);
      lengths[i] = static_cast<double>(clip->samples.size());
    }
  });
  double sum = 0, length = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += sums[i];
    length += lengths[i];
  }
  if (sum > 0) gain_ = options_.level / std::sqrt(sum / length);
}

void Corpus::choose_held_out(const std::vector<int32_t>& places) {
  const size_t every = std::max<size_t>(1, (places.size() + kValidationClips - 1) / kValidationClips);
  std::vector<std::shared_ptr<Slot>> chosen;
  for (size_t i = 0; i < places.size(); i += every) chosen.push_back(slot_of(places[i]));
  parallel_for(chosen.size(), options_.workers, [&](size_t i) { sound(*chosen[i]); });
  for (const auto& slot : chosen) {
    if (slot->sound) held_out_.push_back(slot->sound);
  }
}

std::vector<float> Corpus::at_level(const Sound& sound, int64_t first, int64_t count) const {
  std::vector<float> out(static_cast<size_t>(count), 0.0f);
  const auto scale = static_cast<float>(gain_ * sound.scale / 32768.0);
  const auto size = static_cast<int64_t>(sound.samples.size());
  for (int64_t i = std::max<int64_t>(first, 0); i < std::min(first + count, size); ++i) {
    out[static_cast<size_t>(i - first)] = static_cast<float>(sound.samples[static_cast<size_t>(i)]) * scale;
  }
  return out;
}

std::vector<float> Corpus::mel_frames(const Sound& sound, int64_t first, int64_t count,
                                      audio::MelExtractor& extract) const {
  const auto& recipe = options_.mel;
  const auto framing = recipe.stft();
  const auto size = static_cast<int64_t>(sound.samples.size());
  const int64_t hop = recipe.hop_length, pad = framing.pad_length();
  const double silence = std::log(recipe.log_floor);
  std::vector<float> out(static_cast<size_t>(recipe.n_mels * count), static_cast<float>(silence));
  const int64_t frames = sound.mel.empty() ? framing.frames(size) : sound.mel_frames;
  const int64_t begin = std::max<int64_t>(first, 0), end = std::min(first + count, frames);
  if (begin >= end) return out;

  // Frames [begin - skipped, …) of a piece whose own ends are seen by no frame that is wanted, unless they are the
  // recording's.
  int64_t skipped = begin, stride = frames;
  audio::Mel piece;
  const float* values = sound.mel.data();
  if (sound.mel.empty()) {
    const int64_t from = std::max<int64_t>(0, begin * hop - 2 * pad - hop) / hop * hop;
    const int64_t to = std::min(size, std::max(end * hop + recipe.n_fft, from + 2 * recipe.n_fft));
    piece = extract({at_level(sound, from, to - from), recipe.sample_rate});
    skipped = begin - from / hop;
    stride = piece.frames;
    values = piece.values.data();
  }
  // A mel that came along is that of the recording as it is: the gain is a step of the logarithm.
  const auto step = sound.mel.empty() ? 0.0f : static_cast<float>(std::log(gain_));
  for (int64_t m = 0; m < recipe.n_mels; ++m) {
    std::transform(values + m * stride + skipped, values + m * stride + skipped + (end - begin),
                   out.begin() + m * count + (begin - first),
                   [&](float value) { return std::max(value + step, static_cast<float>(silence)); });
  }
  return out;
}

}  // namespace melflow::engine
