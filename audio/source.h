#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "audio/ring_buffer.h"

namespace melflow::audio {

/// Where live sound comes from: a microphone that gives samples by a clock of its own, from a thread of its own.
class Source {
 public:
  /// Stops at once.
  virtual ~Source() = default;
  virtual int sample_rate() const = 0;  ///< Hz; perhaps not what was asked for
  /// From here on samples are pushed into `ring`, which must outlive the source. Throws Error{unavailable}.
  virtual void start(RingBuffer& ring) = 0;
  virtual bool alive() const = 0;     ///< false once the device has gone
  virtual uint64_t lost() const = 0;  ///< samples that found the ring full
};

}  // namespace melflow::audio
