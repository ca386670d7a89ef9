#include "engine/noise.h"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "base/error.h"

namespace melflow::engine {
namespace {

/// [count, channels].
std::vector<float> drawn(const Noise& noise, int64_t channels, int64_t first, int64_t count) {
  std::vector<float> out(static_cast<size_t>(channels * count));
  noise.fill(channels, first, count, out);
  return out;
}

TEST(Philox, GivesThePublishedNumbers) {  // kat_vectors of Random123, philox4x32-10
  const auto zero = philox(0, 0, 0);
  EXPECT_EQ(zero.v[0], 0x6627e8d5u);
  EXPECT_EQ(zero.v[1], 0xe169c58du);
  EXPECT_EQ(zero.v[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.v[3], 0x9b00dbd8u);
  const auto ones = philox(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  EXPECT_EQ(ones.v[0], 0x408f276du);
  const auto pi = philox(0x85a308d3243f6a88u, 0x0370734413198a2eu, 0x299f31d0a4093822u);
  EXPECT_EQ(pi.v[0], 0xd16cfe09u);
  EXPECT_EQ(pi.v[1], 0x94fdccebu);
  EXPECT_EQ(pi.v[2], 0x5001e420u);
  EXPECT_EQ(pi.v[3], 0x24126ea1u);
}

TEST(Noise, IsAFunctionOfPositionAlone) {
  const Noise noise(42);
  const auto whole = drawn(noise, 7, 0, 50), part = drawn(noise, 7, 20, 9);
  EXPECT_EQ(std::vector<float>(whole.begin() + 20 * 7, whole.begin() + 29 * 7), part);
  EXPECT_EQ(whole[31 * 7 + 5], normal_at(42, 5, 31));
  EXPECT_EQ(drawn(noise.from(20), 7, 0, 9), part);
  EXPECT_NE(whole, drawn(Noise(43), 7, 0, 50));
}

TEST(Noise, IsBoxMullerOfPhiloxInDouble) {
  constexpr int64_t kChannels = 70, kGroups = 3000;
  const auto z = drawn(Noise(5), kChannels, 1, kGroups);
  int different = 0;
  for (int64_t g = 0; g < kGroups; ++g) {
    for (int64_t c = 0; c < kChannels; ++c) {
      const auto u = philox(static_cast<uint64_t>(g + 1), static_cast<uint64_t>(c / 4), 5);
      const auto pair = static_cast<size_t>(c % 4 / 2 * 2);
      const double radius = std::sqrt(-2 * std::log((u.v[pair] + 1.0) * 0x1p-32));
      const double angle = 2 * std::numbers::pi * u.v[pair + 1] * 0x1p-32;
      const auto expected = static_cast<float>(radius * (c % 2 == 0 ? std::cos(angle) : std::sin(angle)));
      const float value = z[static_cast<size_t>(g * kChannels + c)];
      EXPECT_EQ(value, normal_at(5, c, g + 1));
      EXPECT_NEAR(value, expected, 1e-15 + 1e-7 * std::abs(expected)) << u.v[pair] << " " << u.v[pair + 1];
      different += value != expected;
    }
  }
  EXPECT_LE(different, 5);  // where double's last digit decides how float's is rounded
}

TEST(Noise, IsStandardNormal) {
  const auto z = drawn(Noise(1), 8, 0, 50000);
  double moment[5] = {};
  for (const double v : z) {
    for (int k = 1; k < 5; ++k) moment[k] += std::pow(v, k) / 400000.0;
  }
  EXPECT_NEAR(moment[1], 0.0, 5 / std::sqrt(400000.0));
  EXPECT_NEAR(moment[2], 1.0, 5 * std::sqrt(2.0 / 400000));
  EXPECT_NEAR(moment[4], 3.0, 5 * std::sqrt(96.0 / 400000));
}

TEST(Noise, FromAFileRefusesOtherShapes) {
  const Noise noise({{2, 3}, {0, 1, 2, 3, 4, 5}}, "z.npy");
  EXPECT_EQ(drawn(noise, 2, 1, 2), (std::vector<float>{1, 4, 2, 5}));
  EXPECT_THROW(drawn(noise, 2, 1, 3), Error);
  EXPECT_EQ(drawn(noise.endless(), 2, 2, 2), (std::vector<float>{2, 5, 0, 0}));
  EXPECT_THROW(drawn(noise.endless(), 3, 0, 1), Error);
  EXPECT_THROW(drawn(noise, 3, 0, 1), Error);
  EXPECT_THROW(Noise({{6}, {0, 1, 2, 3, 4, 5}}, "z.npy"), Error);
}

}  // namespace
}  // namespace melflow::engine
