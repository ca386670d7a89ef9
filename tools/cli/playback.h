#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "audio/player.h"
#include "tools/cli/progress.h"
#include "tools/cli/sound_ahead.h"
#include "tools/cli/terminal_keys.h"

namespace melflow::tools {

/// Between the sound that is being computed and the device: feeds, listens to the keys, shows where it is.
class Playback {
 public:
  struct Options {
    std::string device;      ///< as audio::open_sink takes it
    int sample_rate;         ///< Hz
    size_t length = 0;       ///< samples; 0: nobody knows
    double prebuffer = 0.2;  ///< seconds of sound that must wait before the first is heard
    bool live = false;       ///< sound that comes late is skipped
  };
  /// Throws as audio::Player does.
  Playback(const Options& options, SoundAhead& sound);

  /// Until everything has been heard, somebody presses q, or a signal comes (then it has fallen silent). `heard` is
  /// called now and then, with the place in seconds that is being heard. Throws as audio::Player::check does.
  void run(const std::function<void(double)>& heard);

  /// What was heard, as JSON.
  nlohmann::json report(const std::string& input) const;
  /// Gaps and late calls, where there were any, a line each on stderr.
  void warn(const std::string& input) const;

 private:
  /// Seconds into the sound that are being heard.
  double place() const { return static_cast<double>(sound_.place()) / rate_ - player_.queued_seconds(); }
  void feed();
  void catch_up();
  void press(Key key);
  void seek(double seconds);
  void show();

  int rate_;
  size_t length_;
  bool live_;
  double prebuffer_;
  SoundAhead& sound_;
  audio::Player player_;
  TerminalKeys keys_;
  ProgressLine line_;
  std::string shown_;
  std::vector<float> block_ = std::vector<float>(2048);
  bool paused_ = false, quit_ = false;
  uint64_t skips_ = 0;
  double least_queued_ = 0;  // seconds, since looking_since_
  std::chrono::steady_clock::time_point looking_since_ = std::chrono::steady_clock::now();
};

}  // namespace melflow::tools
