#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <span>

namespace melflow::tools {

/// Sound between the thread that computes it and the one that plays it, which may go back and forth in it. At most
/// `ahead` samples are computed beyond the reader (or beyond where it waits to go on), at most `behind` are kept.
class SoundAhead {
 public:
  SoundAhead(size_t ahead, size_t behind) : ahead_(ahead), behind_(behind) {}

  /// Thrown at the computing thread when nobody wants more.
  struct Stopped {};

  /// Computing thread: appends; waits while too much lies ahead of the reader.
  void append(std::span<const float> samples);
  /// Computing thread: nothing follows; why, if it went wrong.
  void close(std::exception_ptr failure = {});

  /// Samples from the reader's place on, as many as are there; moves the place. Never waits. Throws what the computing
  /// thread failed with, once everything before has been read.
  size_t read(std::span<float> out);
  /// Takes back the last `count` samples that were read.
  void unread(size_t count);
  /// Moves the reader's place, as far back as is kept and as far forth as the end, where that is known.
  void seek(size_t place);
  size_t place() const;
  /// Samples that are there beyond the reader's place.
  size_t waiting() const;
  /// True when nothing will be appended any more.
  bool closed() const;
  /// True when the reader is at the end of everything.
  bool at_end() const;
  /// Ends the computing thread at its next append().
  void stop();

 private:
  size_t end() const { return first_ + samples_.size(); }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  size_t ahead_, behind_;
  std::deque<float> samples_;  // from first_ on
  size_t first_ = 0, place_ = 0;
  bool closed_ = false, stopped_ = false;
  std::exception_ptr failure_;
};

}  // namespace melflow::tools
