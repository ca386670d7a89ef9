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

void PlaybackCore::drop() noexcept {
  end_at_.store(kNowhere, std::memory_order_release);
  drop_to_.store(ring_.pushed(), std::memory_order_relaxed);
  drops_.fetch_add(1, std::memory_order_release);
}

size_t PlaybackCore::waiting() const noexcept {
  // Until the device comes by, what has been dropped lies in the ring still.
  return std::min(ring_.size(), ring_.pushed() - drop_to_.load(std::memory_order_relaxed));
}

bool PlaybackCore::may_start() const noexcept {
  return end_at_.load(std::memory_order_acquire) != kNowhere || ring_.size() >= prebuffer_;
}

/// The sound stops here and fades in when it goes on.
void PlaybackCore::break_off() noexcept {
  if (playing_) fade_out_left_ = fade_length_;
  fade_in_left_ = fade_length_;
  playing_ = false;
}

void PlaybackCore::fade_in(std::span<float> out) noexcept {
  const size_t count = std::min(out.size(), fade_in_left_);
  for (size_t i = 0; i < count; ++i) {
    out[i] *= 1.0f - static_cast<float>(fade_in_left_ - i) / static_cast<float>(fade_length_);
  }
  fade_in_left_ -= count;
}

void PlaybackCore::fade_out(std::span<float> out) noexcept {
  if (in_gap_) gap_samples_.fetch_add(out.size(), std::memory_order_relaxed);
  for (float& sample : out) {
    sample = last_ * static_cast<float>(fade_out_left_) / static_cast<float>(fade_length_);
    if (fade_out_left_ > 0) --fade_out_left_;
  }
}

void PlaybackCore::fill(std::span<float> out) noexcept {
  filled_.fetch_add(out.size(), std::memory_order_relaxed);
  if (const unsigned drops = drops_.load(std::memory_order_acquire); drops != drops_seen_) {
    drops_seen_ = drops;
    ring_.discard_to(drop_to_.load(std::memory_order_relaxed));
    in_gap_ = false;
    break_off();
  }
  if (paused_.load(std::memory_order_acquire)) {
    if (playing_) break_off();
    in_gap_ = false;  // from here on it is the listener who waits
    fade_out(out);
    return;
  }
  if (!playing_) {
    // A fade runs to its end before anything follows it.
    if (done() || fade_out_left_ > 0 || !may_start()) {
      fade_out(out);
      return;
    }
    playing_ = true;
    in_gap_ = false;
  }
  play(out);
}

void PlaybackCore::play(std::span<float> out) noexcept {
  // Read before the ring: what was pushed before finish() is then surely seen by pop().
  const size_t end = end_at_.load(std::memory_order_acquire);
  const size_t count = ring_.pop(out);
  const std::span<float> played = out.first(count);
  fade_in(played);
  position_.fetch_add(count, std::memory_order_relaxed);
  if (count > 0) last_ = played.back();
  if (count == out.size() && ring_.popped() != end) return;
  // A gap, and whatever breaks off above silence, fades.
  playing_ = false;
  fade_out_left_ = fade_length_;
  if (ring_.popped() == end) {
    done_at_.store(end, std::memory_order_release);
  } else {
    in_gap_ = true;
    fade_in_left_ = fade_length_;
    underruns_.fetch_add(1, std::memory_order_relaxed);
  }
  fade_out(out.subspan(count));
}

}  // namespace melflow::audio
