#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tools/voice_options.h"

namespace melflow::tools {

/// What streaming costs with this voice: the first sample after the program's start, the time of a chunk of 1, 4, 16
/// and 64 frames, how many streams fit in real time, and the cost against offline synthesis, with the largest
/// difference of the very samples that were timed.
nlohmann::json bench_stream(const VoiceOptions& options, double seconds);

}  // namespace melflow::tools
