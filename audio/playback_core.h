#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "audio/ring_buffer.h"

namespace melflow::audio {

/// What a sound device's callback does: takes samples from a ring and hides the gaps. One thread pushes, one (the
/// device's) fills; nothing here waits, allocates, logs or throws.
///
/// It stays silent until `prebuffer` samples wait (or the producer has finished). When they run out before the
/// producer has finished, that is one underrun: the sound fades from its last sample to silence over 5 ms, stays
/// silent until `prebuffer` samples wait again, and fades in over 5 ms.
class PlaybackCore {
 public:
  PlaybackCore(int sample_rate, size_t prebuffer, size_t capacity);

  /// Producer: samples taken from the front of `samples`.
  size_t push(std::span<const float> samples) noexcept { return ring_.push(samples); }
  /// Producer: nothing follows.
  void finish() noexcept { finished_.store(true, std::memory_order_release); }

  /// Device: fills all of `out`.
  void fill(std::span<float> out) noexcept;

  /// True when everything pushed before finish() has been handed to the device.
  bool done() const noexcept { return done_.load(std::memory_order_acquire); }
  uint64_t underruns() const noexcept { return underruns_.load(std::memory_order_relaxed); }
  /// Pushed samples that the device has taken; silence between them does not count.
  uint64_t position() const noexcept { return position_.load(std::memory_order_relaxed); }

 private:
  bool may_start() const noexcept;
  void fade_in(std::span<float> out) noexcept;
  void fade_out(std::span<float> out) noexcept;

  RingBuffer ring_;
  size_t prebuffer_;
  size_t fade_length_;  ///< samples, 5 ms
  // The device thread's own.
  bool playing_ = false;
  float last_ = 0.0f;         ///< the last sample played, from which a gap fades
  size_t fade_in_left_ = 0;   ///< samples that are still to be faded in
  size_t fade_out_left_ = 0;  ///< samples that are still to be faded out
  std::atomic<bool> finished_{false}, done_{false};
  std::atomic<uint64_t> underruns_{0}, position_{0};
};

}  // namespace melflow::audio
