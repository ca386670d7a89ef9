#pragma once

#include <memory>
#include <string>

#include "audio/playback_core.h"

namespace melflow::audio {

/// Where played sound goes: something that takes samples by a clock of its own, from a thread of its own, and does not
/// wait for us. start() makes it call core.fill() until it is stopped.
class Sink {
 public:
  /// Stops at once.
  virtual ~Sink() = default;

  virtual int sample_rate() const = 0;  ///< Hz: what fill() must deliver; perhaps not what was asked for
  /// `core` must outlive the sink. Throws Error{unavailable}.
  virtual void start(PlaybackCore& core) = 0;
  /// False once the device has gone, or stopped by itself.
  virtual bool alive() const = 0;
  /// Why it stopped by itself, as a line for the user, where that is known.
  virtual std::string problem() const { return {}; }
  /// From fill() to being heard, seconds, as the device says.
  virtual double latency_seconds() const = 0;
  /// Times that the device found nothing in its own buffer, because this machine called fill() too late.
  virtual uint64_t late_calls() const = 0;
  /// Returns when what fill() has given has been heard.
  virtual void drain() = 0;
  /// Stops at once; what was given and not yet heard is dropped.
  virtual void abort() = 0;
};

/// Opens an output by its name:
///   ""                   the default sound device
///   "clock:FILE"         no device: takes `rate` samples a second by this machine's clock and writes them to FILE as
///                        raw float32, silence and gaps included (what would have been heard)
///   "clock@48000:FILE"   the same, as a device that has this rate and no other
///   else                 the sound device of that name, or the first whose name contains it
/// `low_latency` asks a device for its small buffer instead of its safe one. `rate` is what the caller would like; a
/// device that does not have it runs at one of its own. Throws Error{unavailable, cannot_create, usage}.
std::unique_ptr<Sink> open_sink(const std::string& name, int rate, bool low_latency = false);

/// True where `name` is not a sound device of this machine, so that none is needed.
bool is_clock_name(const std::string& name);

/// The FILE of a clock's name; empty where the name has none.
std::string clock_file(const std::string& name);

}  // namespace melflow::audio
