#include "tools/cli/mel_scale.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace melflow::tools {

void MelScale::look(std::span<const float> values) {
  constexpr size_t kEnough = 80'000;
  constexpr float kFarthest = 20;
  if (done_) return;
  for (const float value : values) {
    if (value < least_) at_least_ = 0;
    least_ = std::min(least_, value);
    most_ = std::max(most_, value);
    at_least_ += value == least_;
  }
  looked_ += values.size();
  if (least_ <= -kFarthest || most_ >= kFarthest) return tell();
  if (looked_ >= kEnough) finish();
}

void MelScale::finish() {
  if (done_ || looked_ == 0) return;
  done_ = true;
  // Where several are least, they are the floor that silence was raised to: a whole number as log10(1e-5) is, or as -4
  // of what was normalised to -4 to 4, and as the natural logarithm of no usual floor is.
  const bool whole_floor = std::abs(least_ - std::round(least_)) < 1e-5F && at_least_ > 1;
  if (least_ >= 0 || whole_floor) tell();
}

void MelScale::tell() {
  done_ = true;
  std::fprintf(stderr,
               "%s: its numbers, %g to %g, do not look like natural logarithms of mel magnitudes, which is what voices "
               "are told; ln(max(1e-5, magnitude)) is usual\n",
               one_line(name_).c_str(), static_cast<double>(least_), static_cast<double>(most_));
}

}  // namespace melflow::tools
