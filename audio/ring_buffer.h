#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <span>
#include <vector>

namespace melflow::audio {

/// Lock-free queue of samples from one producer thread to one consumer thread. push and pop never wait, allocate or
/// throw: each moves as much as fits and says how much that was.
class RingBuffer {
 public:
  /// Holds at least `capacity` samples (rounded up to a power of two, so that an index wraps by a mask).
  explicit RingBuffer(size_t capacity)
      : samples_(std::bit_ceil(std::max<size_t>(capacity, 1))), mask_(samples_.size() - 1) {}

  size_t capacity() const noexcept { return samples_.size(); }

  /// Producer only. Samples taken from the front of `source`.
  size_t push(std::span<const float> source) noexcept {
    const size_t end = end_.load(std::memory_order_relaxed);
    if (capacity() - (end - known_begin_) < source.size()) known_begin_ = begin_.load(std::memory_order_acquire);
    const size_t count = std::min(source.size(), capacity() - (end - known_begin_));
    const size_t at = end & mask_, before_wrap = std::min(count, capacity() - at);
    std::copy_n(source.data(), before_wrap, samples_.data() + at);
    std::copy_n(source.data() + before_wrap, count - before_wrap, samples_.data());
    end_.store(end + count, std::memory_order_release);
    return count;
  }

  /// Consumer only. Samples written to the front of `target`.
  size_t pop(std::span<float> target) noexcept {
    const size_t begin = begin_.load(std::memory_order_relaxed);
    if (known_end_ - begin < target.size()) known_end_ = end_.load(std::memory_order_acquire);
    const size_t count = std::min(target.size(), known_end_ - begin);
    const size_t at = begin & mask_, before_wrap = std::min(count, capacity() - at);
    std::copy_n(samples_.data() + at, before_wrap, target.data());
    std::copy_n(samples_.data(), count - before_wrap, target.data() + before_wrap);
    begin_.store(begin + count, std::memory_order_release);
    return count;
  }

  /// Producer only. Samples pushed since the beginning: the index of the next one.
  size_t pushed() const noexcept { return end_.load(std::memory_order_relaxed); }
  /// Consumer only. The same for samples popped.
  size_t popped() const noexcept { return begin_.load(std::memory_order_relaxed); }
  /// Consumer only. Forgets the samples before `index`, one that pushed() has answered.
  void discard_to(size_t index) noexcept {
    const auto ahead = static_cast<std::ptrdiff_t>(index - begin_.load(std::memory_order_relaxed));
    if (ahead <= 0) return;
    // pop() only ever looks ahead by what it knows to be there.
    if (static_cast<std::ptrdiff_t>(index - known_end_) > 0) known_end_ = end_.load(std::memory_order_acquire);
    begin_.store(index, std::memory_order_release);
  }

  /// Samples that wait, as seen from either side: the other side may have moved on meanwhile.
  size_t size() const noexcept {
    const size_t begin = begin_.load(std::memory_order_acquire);
    return end_.load(std::memory_order_acquire) - begin;
  }

 private:
  // Indices count all samples ever moved and wrap with size_t; the mask makes places of them. Each side keeps the last
  // value it saw of the other's, and each side's data has a cache line of its own.
  static constexpr size_t kCacheLine = 64;
  std::vector<float> samples_;
  size_t mask_;
  alignas(kCacheLine) std::atomic<size_t> end_{0};  ///< written by the producer
  size_t known_begin_ = 0;
  alignas(kCacheLine) std::atomic<size_t> begin_{0};  ///< written by the consumer
  size_t known_end_ = 0;
};

}  // namespace melflow::audio
