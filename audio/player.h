#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace melflow::audio {

struct OutputDevice {
  std::string name;
  std::string host_api;  ///< "ALSA", "JACK Audio Connection Kit"
  int channels = 0;
  double sample_rate = 0.0;  ///< the device's own, Hz
  bool is_default = false;
};

/// Devices that sound can be played to; empty where there is none.
std::vector<OutputDevice> list_devices();

struct PlayerOptions {
  std::string device{};            ///< its name or a part of it; empty: the default
  int sample_rate = 22050;         ///< Hz
  double prebuffer_seconds = 0.2;  ///< sound that must wait before the first sample is heard, and after a gap
  double buffer_seconds = 2.0;     ///< how far push() may run ahead
};

/// Plays mono sound to a device while it is being computed. One thread uses it.
class Player {
 public:
  /// Throws Error{unavailable} where there is no such device or it refuses the rate.
  explicit Player(const PlayerOptions& options);
  /// Stops at once.
  ~Player();
  Player(Player&&) noexcept;
  Player& operator=(Player&&) noexcept;

  /// Queues all samples; waits while the buffer is full. Throws Error{unavailable} where the device stopped taking
  /// any (it was unplugged).
  void push(std::span<const float> samples);
  /// Waits until everything has been played. Throws as push() does.
  void finish();
  /// Stops at once; what waits is dropped.
  void stop();

  uint64_t position() const;       ///< samples that the device has taken
  uint64_t underruns() const;      ///< gaps, because push() came too late
  double latency_seconds() const;  ///< from the device's taking a sample to its being heard, as the device says

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
