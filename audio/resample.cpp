#include "audio/resample.h"

#include <soxr.h>

#include <cassert>
#include <cmath>
#include <string>

#include "audio/error.h"

namespace melflow::audio {

std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz) {
  assert(from_hz > 0 && to_hz > 0);
  if (from_hz == to_hz || samples.empty()) return {samples.begin(), samples.end()};
  const auto length = std::llround(static_cast<double>(samples.size()) * to_hz / from_hz);
  std::vector<float> result(static_cast<size_t>(length));
  // soxr takes no null pointer for an output of no samples.
  if (result.empty()) return result;
  const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_VHQ, 0);
  const soxr_runtime_spec_t one_thread = soxr_runtime_spec(1);
  size_t done = 0;
  const soxr_error_t error = soxr_oneshot(from_hz, to_hz, 1, samples.data(), samples.size(), nullptr, result.data(),
                                          result.size(), &done, nullptr, &quality, &one_thread);
  if (error != nullptr) {
    throw Error(Exit::internal,
                "cannot resample from " + std::to_string(from_hz) + " to " + std::to_string(to_hz) + " Hz: " + error);
  }
  // soxr may stop a sample early where the length is rounded up; what is missing stays silent.
  return result;
}

}  // namespace melflow::audio
