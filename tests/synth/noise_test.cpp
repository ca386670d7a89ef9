#include "engine/noise.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "audio/error.h"

namespace melflow::engine {
namespace {

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
  const auto whole = noise.slice(7, 0, 50), part = noise.slice(7, 20, 9);
  EXPECT_TRUE(torch::equal(whole.slice(2, 20, 29), part));
  EXPECT_EQ(whole[0][5][31].item<float>(), normal_at(42, 5, 31));
  EXPECT_FALSE(torch::equal(whole, Noise(43).slice(7, 0, 50)));
}

TEST(Noise, IsStandardNormal) {
  const auto z = Noise(1).slice(8, 0, 50000).flatten();
  EXPECT_NEAR(z.mean().item<double>(), 0.0, 5 / std::sqrt(400000.0));
  EXPECT_NEAR(z.square().mean().item<double>(), 1.0, 5 * std::sqrt(2.0 / 400000));
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3.0, 5 * std::sqrt(96.0 / 400000));
}

TEST(Noise, FromAFileRefusesOtherShapes) {
  const Noise noise({{2, 3}, {0, 1, 2, 3, 4, 5}}, "z.npy");
  EXPECT_EQ(noise.slice(2, 1, 2)[0][1][1].item<float>(), 5.0f);
  EXPECT_THROW(noise.slice(2, 1, 3), Error);
  EXPECT_THROW(noise.slice(3, 0, 1), Error);
  EXPECT_THROW(Noise({{6}, {0, 1, 2, 3, 4, 5}}, "z.npy"), Error);
}

}  // namespace
}  // namespace melflow::engine
