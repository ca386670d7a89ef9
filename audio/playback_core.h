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
/// silent until `prebuffer` samples wait again, and fades in over 5 ms. A pause and a jump fade the same way, and are
/// no underruns.
class PlaybackCore {
 public:
  PlaybackCore(int sample_rate, size_t prebuffer, size_t capacity);

  /// Producer: samples taken from the front of `samples`.
  size_t push(std::span<const float> samples) noexcept { return ring_.push(samples); }
  /// Producer: nothing follows.
  void finish() noexcept { end_at_.store(ring_.pushed(), std::memory_order_release); }
  /// Producer: forgets what waits, and that the end was near; what is pushed from now on is played next (a jump).
  void drop() noexcept;
  /// Producer: silence until further notice. Nothing is lost.
  void pause(bool paused) noexcept { paused_.store(paused, std::memory_order_release); }

  /// Device: fills all of `out`.
  void fill(std::span<float> out) noexcept;

  /// True when everything pushed before finish() has been handed to the device.
  bool done() const noexcept { return done_at_.load(std::memory_order_acquire) == end_at_.load(); }
  uint64_t underruns() const noexcept { return underruns_.load(std::memory_order_relaxed); }
  /// Samples of silence and fading that the device got in those gaps.
  uint64_t gap_samples() const noexcept { return gap_samples_.load(std::memory_order_relaxed); }
  /// Pushed samples that the device has taken; silence between them does not count.
  uint64_t position() const noexcept { return position_.load(std::memory_order_relaxed); }
  /// Samples of any kind that the device has asked for: what changes as long as it lives.
  uint64_t filled() const noexcept { return filled_.load(std::memory_order_relaxed); }
  /// Producer: samples that wait.
  size_t waiting() const noexcept;

 private:
  // Indices of the ring that mean none: a ring that counted so far would have played for millions of years.
  static constexpr size_t kNowhere = ~size_t{0}, kNotYet = ~size_t{0} - 1;

  bool may_start() const noexcept;
  void break_off() noexcept;
  void play(std::span<float> out) noexcept;
  void fade_in(std::span<float> out) noexcept;
  void fade_out(std::span<float> out) noexcept;

  RingBuffer ring_;
  size_t prebuffer_;
  size_t fade_length_;  ///< samples, 5 ms
  // The device thread's own.
  bool playing_ = false;
  bool in_gap_ = false;       ///< silent because the producer is late
  float last_ = 0.0f;         ///< the last sample played, from which a gap fades
  unsigned drops_seen_ = 0;   ///< of drops_
  size_t fade_in_left_ = 0;   ///< samples that are still to be faded in
  size_t fade_out_left_ = 0;  ///< samples that are still to be faded out
  // The producer's wishes: where the sound ends, what is to be forgotten.
  std::atomic<size_t> end_at_{kNowhere}, drop_to_{0};
  std::atomic<unsigned> drops_{0};
  std::atomic<bool> paused_{false};
  // The device's answers: the end that has been reached.
  std::atomic<size_t> done_at_{kNotYet};
  std::atomic<uint64_t> underruns_{0}, gap_samples_{0}, position_{0}, filled_{0};
};

}  // namespace melflow::audio
