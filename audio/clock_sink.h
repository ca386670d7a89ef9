#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "audio/sink.h"

namespace melflow::audio {

/// A sink that is a clock and a file: every kPeriod samples' time it takes a period and appends it, raw float32. It
/// behaves as a device with a buffer of kBuffer periods: a call that comes later than that is counted as late.
/// An existing regular file is refused; a pipe or /dev/null is written to.
std::unique_ptr<Sink> open_clock_sink(const std::string& path, int rate);

}  // namespace melflow::audio
