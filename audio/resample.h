#pragma once

#include <span>
#include <vector>

namespace melflow::audio {

/// Band-limited rate conversion (soxr, 28 bit, linear phase); llround(n·to/from) samples, in step with the input.
std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz);

}  // namespace melflow::audio
