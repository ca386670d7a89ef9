#include "audio/fast_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace melflow::audio {
namespace {

TEST(FastLog, IsWithinRoundingOfTheLogarithm) {
  // A step of 997 units in the last place visits two million numbers from the smallest normal to the largest.
  const auto first = std::bit_cast<int32_t>(std::numeric_limits<float>::min());
  const auto last = std::bit_cast<int32_t>(std::numeric_limits<float>::max());
  for (int64_t bits = first; bits <= last; bits += 997) {
    const auto x = std::bit_cast<float>(static_cast<int32_t>(bits));
    const double exact = std::log(static_cast<double>(x));
    ASSERT_LE(std::abs(fast_log(x) - exact), 2e-7 + 1.2e-7 * std::abs(exact)) << x;
  }
  EXPECT_EQ(fast_log(1.0f), 0.0f);
}

}  // namespace
}  // namespace melflow::audio
