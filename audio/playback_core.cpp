#include "audio/playback_core.h"

#include <algorithm>

namespace melflow::audio {
namespace {

constexpr int kFadesPerSecond = 200;  // 5 ms each

}  // namespace

PlaybackCore::PlaybackCore(int sample_rate, size_t prebuffer, size_t capacity)
    : ring_(std::max(capacity, prebuffer)),
      prebuffer_(std::max<size_t>(prebuffer, 1)),
      fade_length_(static_cast<size_t>(std::max(1, sample_rate / kFadesPerSecond))) {}

bool PlaybackCore::may_start() const noexcept {
  return finished_.load(std::memory_order_acquire) || ring_.size() >= prebuffer_;
}

void PlaybackCore::fade_in(std::span<float> out) noexcept {
  const size_t count = std::min(out.size(), fade_in_left_);
  for (size_t i = 0; i < count; ++i) {
    out[i] *= 1.0f - static_cast<float>(fade_in_left_ - i) / static_cast<float>(fade_length_);
  }
  fade_in_left_ -= count;
}

void PlaybackCore::fade_out(std::span<float> out) noexcept {
  for (float& sample : out) {
    sample = last_ * static_cast<float>(fade_out_left_) / static_cast<float>(fade_length_);
    if (fade_out_left_ > 0) --fade_out_left_;
  }
}

void PlaybackCore::fill(std::span<float> out) noexcept {
  if (!playing_) {
    // A fade runs to its end before anything follows it.
    if (done() || fade_out_left_ > 0 || !may_start()) {
      fade_out(out);
      return;
    }
    playing_ = true;
  }
  // Read before the ring: what was pushed before finish() is then surely seen by pop().
  const bool finished = finished_.load(std::memory_order_acquire);
  const size_t count = ring_.pop(out);
  const std::span<float> played = out.first(count);
  fade_in(played);
  position_.fetch_add(count, std::memory_order_relaxed);
  if (count > 0) last_ = played.back();
  if (count == out.size()) return;
  // The end comes as it was written; a gap, and whatever breaks off above silence, fades.
  fade_out_left_ = fade_length_;
  fade_out(out.subspan(count));
  playing_ = false;
  if (finished) {
    done_.store(true, std::memory_order_release);
    return;
  }
  fade_in_left_ = fade_length_;
  underruns_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace melflow::audio
