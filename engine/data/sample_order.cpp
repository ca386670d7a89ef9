#include "engine/data/sample_order.h"

#include <algorithm>
#include <numeric>

#include "engine/noise.h"

namespace melflow::engine {
namespace {

/// Runs a window mixes at least: neighbours are often of one speaker and one day.
constexpr int64_t kRunsAWindow = 32;

/// Fisher and Yates, by position in the stream.
void shuffle(std::vector<int32_t>& values, int64_t seed, uint64_t stream, uint64_t epoch) {
  for (size_t i = values.size(); i > 1; --i) {
    const auto u = philox(epoch << 32 | i, stream, static_cast<uint64_t>(seed));
    const uint64_t bits = uint64_t{u.v[0]} << 32 | u.v[1];
    const auto chosen = static_cast<size_t>(static_cast<double>(bits >> 11) * 0x1p-53 * static_cast<double>(i));
    std::swap(values[i - 1], values[chosen]);
  }
}

}  // namespace

double uniform_at(int64_t seed, uint64_t stream, uint64_t index) {
  return philox(index, stream, static_cast<uint64_t>(seed)).v[0] * 0x1p-32;
}

SampleOrder::SampleOrder(const std::vector<int64_t>& samples, const std::vector<bool>& follows, const Options& options)
    : options_(options), samples_(samples) {
  const int64_t longest = options.window_samples / kRunsAWindow;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto clip = static_cast<int32_t>(i);
    if (runs_.empty() || !follows[i] || runs_.back().samples + samples[i] > longest) {
      runs_.push_back({clip, clip, 0, 0});
    }
    auto& run = runs_.back();
    run.end = clip + 1;
    run.samples += samples[i];
    run.entries += entries_of(clip);
  }
  for (const auto& run : runs_) epoch_entries_ += run.entries;
}

int64_t SampleOrder::entries_of(int32_t clip) const {
  const auto n = samples_[static_cast<size_t>(clip)], segment = options_.segment_samples;
  return std::max<int64_t>(1, (n + segment / 2) / segment);
}

SampleOrder::Window SampleOrder::window_at(int64_t index) const {
  Window window;
  window.epoch = index / epoch_entries_;
  std::vector<int32_t> order(runs_.size());
  std::iota(order.begin(), order.end(), 0);
  shuffle(order, options_.seed, kRunStream, static_cast<uint64_t>(window.epoch));

  const int64_t wanted = index % epoch_entries_;
  int64_t entries_before = 0, entries = 0, size = 0;
  size_t first = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto& run = runs_[static_cast<size_t>(order[i])];
    if (size > 0 && size + run.samples > options_.window_samples) {
      if (wanted < entries_before + entries) {
        order.resize(i);
        break;
      }
      entries_before += entries;
      first = i;
      entries = size = 0;
      ++window.number;
    }
    entries += run.entries;
    size += run.samples;
  }
  window.first = window.epoch * epoch_entries_ + entries_before;
  for (size_t i = first; i < order.size(); ++i) {
    const auto& run = runs_[static_cast<size_t>(order[i])];
    for (int32_t clip = run.begin; clip < run.end; ++clip) window.clips.push_back(clip);
  }
  std::sort(window.clips.begin(), window.clips.end());
  for (size_t i = 0; i < window.clips.size(); ++i) {
    window.chosen.insert(window.chosen.end(), static_cast<size_t>(entries_of(window.clips[i])),
                         static_cast<int32_t>(i));
  }
  // A stream of its own for each window of an epoch.
  shuffle(window.chosen, options_.seed, kEntryStream + (uint64_t{window.number} << 44),
          static_cast<uint64_t>(window.epoch));
  return window;
}

}  // namespace melflow::engine
