#include "engine/data/crop_feed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "engine/noise.h"
#include "engine/parallel.h"

namespace melflow::engine {
namespace {

/// Batches made ahead: enough to even out a slow disk's moments.
constexpr int64_t kAhead = 4;

/// Uniform dequantisation noise of the given width, by absolute position in the stream of the training.
void dequantise(std::span<float> x, double width, int64_t seed, uint64_t crop) {
  if (width <= 0) return;
  for (size_t i = 0; i < x.size(); i += 4) {
    const auto u = philox((crop << 32) + i, kDequantiseStream, static_cast<uint64_t>(seed));
    for (size_t j = i; j < std::min(i + 4, x.size()); ++j) {
      x[j] += static_cast<float>((u.v[j - i] * 0x1p-32 - 0.5) * width);
    }
  }
}

/// Where in `spare` + 1 places a crop begins.
int64_t place_of(int64_t seed, int64_t index, int64_t spare) {
  return static_cast<int64_t>(uniform_at(seed, kCropStream, static_cast<uint64_t>(index)) *
                              static_cast<double>(std::max<int64_t>(0, spare) + 1));
}

}  // namespace

/// A window of the order, and its recordings as they come in.
struct CropFeed::Window {
  SampleOrder::Window order;
  std::vector<std::shared_ptr<Corpus::Slot>> slots;  ///< one for each of order.clips
  size_t read = 0;                                   ///< slots that were given to a thread to be read ahead
};

CropFeed::CropFeed(std::shared_ptr<Corpus> corpus, const FeedOptions& options)
    : corpus_(std::move(corpus)), options_(options) {
  // None at all: take() reads itself. The crops are the same.
  start_threads(threads_, 0, options.workers, [this](int) { work(); });
}

CropFeed::~CropFeed() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_is_there_.notify_all();
}

Crops CropFeed::take(int64_t batch) {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  if (batch != taken_ + 1 || round_ == 0) {
    made_.clear();
    windows_.clear();
    next_ = batch;
    ++round_;
  }
  taken_ = batch - 1;
  Made made;
  if (threads_.empty()) {
    lock.unlock();
    audio::MelExtractor extract(corpus_->options().mel);
    made.crops = make(batch, extract);
    lock.lock();
  } else {
    work_is_there_.notify_all();
    batch_is_there_.wait(lock, [&] { return made_.contains(batch); });
    made = std::move(made_.extract(batch).mapped());
  }
  taken_ = batch;
  work_is_there_.notify_all();
  seconds_waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (made.failure) std::rethrow_exception(made.failure);
  return std::move(made.crops);
}

void CropFeed::work() {
  std::optional<audio::MelExtractor> extract;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (round_ > 0 && next_ <= taken_ + kAhead) {
      const auto batch = next_++, round = round_;
      lock.unlock();
      Made made;
      try {
        if (!extract) extract.emplace(corpus_->options().mel);
        made.crops = make(batch, *extract);
      } catch (...) {
        made.failure = std::current_exception();
      }
      lock.lock();
      if (round == round_) made_[batch] = std::move(made);
      batch_is_there_.notify_all();
    } else if (auto slot = next_to_read()) {
      lock.unlock();
      try {
        corpus_->sound(*slot);
      } catch (...) {  // told when the batch that needs it is made
      }
      slot.reset();
      lock.lock();
    } else {
      work_is_there_.wait(lock);
    }
  }
}

std::shared_ptr<Corpus::Slot> CropFeed::next_to_read() {
  if (round_ == 0) return nullptr;
  for (auto& [first, window] : windows_) {
    if (window->read < window->slots.size()) return window->slots[window->read++];
  }
  // The next window is begun when the current one is complete.
  if (windows_.size() != 1) return nullptr;
  window_at(windows_.begin()->second->order.end());
  return next_to_read();
}

std::shared_ptr<CropFeed::Window> CropFeed::window_at(int64_t index) {
  for (auto& [first, window] : windows_) {
    if (index >= first && index < window->order.end()) return window;
  }
  auto window = std::make_shared<Window>();
  window->order = corpus_->order().window_at(index);
  for (const auto clip : window->order.clips) window->slots.push_back(corpus_->slot(clip));
  windows_[window->order.first] = window;
  return window;
}

std::shared_ptr<const Sound> CropFeed::sound_of(Window& window, int64_t index) {
  const auto chosen = static_cast<size_t>(window.order.chosen[static_cast<size_t>(index - window.order.first)]);
  // Where a recording cannot be used, the next one that can takes its place, for whoever asks.
  for (size_t i = 0; i < window.slots.size(); ++i) {
    if (auto sound = corpus_->sound(*window.slots[(chosen + i) % window.slots.size()])) return sound;
  }
  throw Error(Exit::bad_data, "none of " + std::to_string(window.slots.size()) +
                                  " recordings in a row can be used; melflow data check tells why");
}

Crops CropFeed::make(int64_t batch, audio::MelExtractor& extract) {
  const auto& o = corpus_->options();
  const int64_t frames = options_.warmup_frames + o.segment_frames;
  const int64_t begin = batch * options_.batch_size + options_.batch_size * options_.rank / options_.ranks;
  const int64_t end = batch * options_.batch_size + options_.batch_size * (options_.rank + 1) / options_.ranks;
  Crops crops{.count = end - begin,
              .samples = frames * o.mel.hop_length,
              .frames = frames + options_.lookahead_frames,
              .seeds = {},
              .x = {},
              .mel = {}};
  // At once: what is beyond memory is refused here, and not when half of it has been filled.
  crops.x.reserve(static_cast<size_t>(crops.count * crops.samples));
  crops.mel.reserve(static_cast<size_t>(crops.count * crops.frames * o.mel.n_mels));
  for (int64_t index = begin; index < end; ++index) {
    const auto bits = philox(static_cast<uint64_t>(index), kModelStream, static_cast<uint64_t>(o.seed));
    crops.seeds.push_back(static_cast<uint64_t>(bits.v[0]) << 32 | bits.v[1]);
    std::shared_ptr<Window> window;
    {
      const std::lock_guard lock(mutex_);
      window = window_at(index);
      // What all that is still to be made lies behind is not needed any more.
      while (windows_.size() > 1 && windows_.begin()->second->order.end() <= (taken_ + 1) * options_.batch_size) {
        windows_.erase(windows_.begin());
      }
    }
    const auto sound = sound_of(*window, index);
    const auto change = change_of(options_.augmentation, o.seed, static_cast<uint64_t>(index));
    auto crop = change.none() ? crop_of(*sound, index, extract) : changed_crop(*sound, index, change, extract);
    dequantise(crop.x, options_.dequantise * corpus_->gain() / 32768.0, o.seed, static_cast<uint64_t>(index));
    crops.x.insert(crops.x.end(), crop.x.begin(), crop.x.end());
    crops.mel.insert(crops.mel.end(), crop.mel.begin(), crop.mel.end());
  }
  return crops;
}

CropFeed::Crop CropFeed::crop_of(const Sound& sound, int64_t index, audio::MelExtractor& extract) const {
  const auto& o = corpus_->options();
  const int64_t hop = o.mel.hop_length, frames = options_.warmup_frames + o.segment_frames;
  // The segment lies anywhere in the clip; its past may reach before the start, where there is silence.
  const auto spare = static_cast<int64_t>(sound.samples.size()) / hop - o.segment_frames;
  const auto first = place_of(o.seed, index, spare) - options_.warmup_frames;
  return {corpus_->at_level(sound, first * hop, frames * hop),
          corpus_->mel_frames(sound, first, frames + options_.lookahead_frames, extract)};
}

CropFeed::Crop CropFeed::changed_crop(const Sound& sound, int64_t index, const CropChange& change,
                                      audio::MelExtractor& extract) const {
  const auto& o = corpus_->options();
  const int64_t hop = o.mel.hop_length, frames = options_.warmup_frames + o.segment_frames;
  // Frames before and behind, of which no window that is wanted sees the ends.
  const int64_t around = (o.mel.n_fft + kChangeMargin) / hop + 1;
  const int64_t count = (around + frames + options_.lookahead_frames + around) * hop;
  // In samples of the recording, which lasts 1/speed as long.
  const auto lasts = [&](int64_t changed_frames) {
    return std::llround(static_cast<double>(changed_frames * hop) * change.speed);
  };
  const auto spare = static_cast<int64_t>(sound.samples.size()) - lasts(o.segment_frames);
  const auto first = place_of(o.seed, index, spare) - lasts(around + options_.warmup_frames);
  const auto piece =
      changed(corpus_->at_level(sound, first, samples_for(change, count)), change, o.mel.sample_rate, count);
  const auto mel = extract({piece, o.mel.sample_rate});
  Crop crop{{piece.begin() + around * hop, piece.begin() + (around + frames) * hop}, {}};
  for (int64_t m = 0; m < mel.n_mels; ++m) {
    const auto row = mel.values.begin() + m * mel.frames + around;
    crop.mel.insert(crop.mel.end(), row, row + frames + options_.lookahead_frames);
  }
  return crop;
}

}  // namespace melflow::engine
