#include "tools/cli/sound_ahead.h"

#include <algorithm>

namespace melflow::tools {

void SoundAhead::append(std::span<const float> samples) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || end() < place_ + ahead_; });
  if (stopped_) throw Stopped{};
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  if (place_ > first_ + behind_) {
    const size_t old = std::min(place_ - behind_ - first_, samples_.size());
    samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(old));
    first_ += old;
  }
}

void SoundAhead::close(std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  failure_ = std::move(failure);
  changed_.notify_all();
}

size_t SoundAhead::read(std::span<float> out) {
  const std::lock_guard lock(mutex_);
  const size_t count = place_ < end() ? std::min(out.size(), end() - place_) : 0;
  if (count == 0 && closed_ && failure_) std::rethrow_exception(failure_);
  const auto begin = samples_.begin() + static_cast<std::ptrdiff_t>(std::min(place_, end()) - first_);
  std::copy(begin, begin + static_cast<std::ptrdiff_t>(count), out.begin());
  place_ += count;
  changed_.notify_all();
  return count;
}

void SoundAhead::unread(size_t count) {
  const std::lock_guard lock(mutex_);
  place_ -= std::min(count, place_ - first_);
}

void SoundAhead::seek(size_t place) {
  const std::lock_guard lock(mutex_);
  place_ = std::max(place, first_);
  if (closed_) place_ = std::min(place_, end());
  changed_.notify_all();
}

size_t SoundAhead::place() const {
  const std::lock_guard lock(mutex_);
  return place_;
}

size_t SoundAhead::waiting() const {
  const std::lock_guard lock(mutex_);
  return end() - std::min(place_, end());
}

bool SoundAhead::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool SoundAhead::at_end() const {
  const std::lock_guard lock(mutex_);
  return closed_ && !failure_ && place_ >= end();
}

void SoundAhead::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

}  // namespace melflow::tools
