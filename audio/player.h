#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace melflow::audio {

struct PlayerOptions {
  std::string device{};            ///< as open_sink (audio/sink.h) takes it; empty: the default device
  int sample_rate = 22050;         ///< of the samples that are pushed, Hz; the device may have another
  double prebuffer_seconds = 0.2;  ///< sound that must wait before the first sample is heard, and after a gap
  double buffer_seconds = 2.0;     ///< how far push() may run ahead
  bool low_latency = false;        ///< the device's small buffer instead of its safe one
};

/// Plays mono sound to a device while it is being computed. One thread uses it.
class Player {
 public:
  /// Throws as open_sink does.
  explicit Player(const PlayerOptions& options);
  /// Stops at once.
  ~Player();
  Player(Player&&) noexcept;
  Player& operator=(Player&&) noexcept;

  /// Samples queued from the front of `samples`: as many as fit. Never waits.
  size_t offer(std::span<const float> samples);
  /// No sample follows; never waits. done() tells when the device has taken everything; finish() waits until it was
  /// heard.
  void end();
  bool done() const;
  /// Throws Error{unavailable} where the device has gone, or has asked for nothing for seconds.
  void check();

  /// Queues all samples; waits while the buffer is full. Throws as check() does.
  void push(std::span<const float> samples);
  /// end(), and waits until everything has been heard. Throws as check() does.
  void finish();
  /// Stops at once; what waits is dropped.
  void stop();

  /// Fades to silence until pause(false); nothing is lost and no gap counted.
  void pause(bool paused);
  /// Forgets what waits, and an end() before: a jump. What is offered next is played next.
  void drop();

  double queued_seconds() const;   ///< of sound that has been offered and that the device has not taken
  uint64_t position() const;       ///< samples (of sample_rate) that the device has taken
  uint64_t underruns() const;      ///< gaps, because samples came too late
  double gap_seconds() const;      ///< how long they were together
  uint64_t late_calls() const;     ///< gaps of the device's own, because this machine served it too late
  double latency_seconds() const;  ///< from the device's taking a sample to its being heard, as the device says
  int device_rate() const;         ///< Hz

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
