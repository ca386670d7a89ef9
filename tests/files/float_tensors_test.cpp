#include "engine/files/float_tensors.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/files/safetensors.h"

namespace melflow::files {
namespace {

TensorView view_of(const std::vector<std::byte>& bytes, size_t offset, std::vector<int64_t> shape) {
  return {Dtype::f32, std::move(shape), std::span(bytes).subspan(offset)};
}

TEST(FloatTensors, OneBadNumberAnywhereIsFound) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (const size_t count : {1u, 4095u, 4096u, 10000u}) {
    constexpr size_t kOdd = 1;  // in a file, numbers need not be aligned
    std::vector<std::byte> bytes(kOdd + count * sizeof(float));
    const auto put = [&](size_t i, float value) { std::memcpy(&bytes[kOdd + i * sizeof value], &value, sizeof value); };
    const auto finite = [&] { return all_finite(view_of(bytes, kOdd, {static_cast<int64_t>(count)})); };
    for (size_t i = 0; i < count; ++i) put(i, i % 2 ? FLT_MAX : -FLT_TRUE_MIN);
    EXPECT_TRUE(finite()) << count;
    for (const size_t i : {size_t{0}, count / 2, count - 1}) {
      for (const float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
        put(i, bad);
        EXPECT_FALSE(finite()) << bad << " at " << i << " of " << count;
      }
      put(i, 1);
    }
    EXPECT_TRUE(finite()) << count;
  }
  EXPECT_TRUE(all_finite({Dtype::f32, {0}, {}}));
}

TEST(FloatTensors, NormsComeOffAndGoOnAgain) {
  const std::vector<float> weight = {3, 4, 0, 0, -1e-30f, 0};
  const std::vector<std::byte> bytes(std::as_bytes(std::span(weight)).begin(), std::as_bytes(std::span(weight)).end());
  Arrays made;
  auto v = view_of(bytes, 0, {3, 2, 1});
  const auto norms = split_off_norms(v, made);
  EXPECT_EQ(norms.shape, (std::vector<int64_t>{3, 1, 1}));
  const auto g = as_float32(norms, "g"), direction = as_float32(v, "v");
  EXPECT_EQ(g, (std::vector<float>{5, 0, 1e-30f}));
  for (size_t i = 0; i < weight.size(); ++i) {
    const double norm = std::hypot<double>(direction[i / 2 * 2], direction[i / 2 * 2 + 1]);
    EXPECT_FLOAT_EQ(static_cast<float>(g[i / 2] * (direction[i] / norm)), weight[i]);
  }
}

TEST(FloatTensors, RoundedToBytesIsTheNearestOfTheBestPowerOfTwo) {
  // The first row's largest is 127 steps of 2^-7; in the second it pays to cut 1 to as much; the third has nothing but
  // one number far below the smallest half, and the fourth counts in that.
  const std::vector<float> numbers = {127 / 128.0f, 0.3f, -0.004f,  1,        3 / 128.0f, 5 / 128.0f, 0,
                                      0x1p-40f,     0,    0x1p-20f, 0x1p-23f, 0};
  Arrays made;
  const auto rounded = rounded_to_bytes({Dtype::f32, {4, 3}, std::as_bytes(std::span(numbers))}, "w", made);
  EXPECT_EQ(rounded.dtype, Dtype::f16);
  EXPECT_EQ(as_float32(rounded, "w"), (std::vector<float>{127 / 128.0f, 38 / 128.0f, -1 / 128.0f, 127 / 128.0f,
                                                          3 / 128.0f, 5 / 128.0f, 0, 0, 0, 0x1p-20f, 0x1p-23f, 0}));
  // Once more changes nothing.
  EXPECT_TRUE(std::ranges::equal(rounded_to_bytes(rounded, "w", made).bytes, rounded.bytes));
  const float bad = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(rounded_to_bytes({Dtype::f32, {1, 1}, std::as_bytes(std::span(&bad, 1))}, "w", made), Error);
}

TEST(FloatTensors, HalvesAreTheNearestOnes) {
  // 1 + 2^-11 lies between two halves: the even one is taken. 2^-24 is the smallest, half of it nothing.
  const std::vector<float> numbers = {1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, -65504.0f, 0x1p-24f, 0x1p-25f, -0.1f};
  const auto bytes = std::as_bytes(std::span(numbers));
  Arrays made;
  const auto half = halved({Dtype::f32, {2, 3}, bytes}, "w", made);
  EXPECT_EQ(half.dtype, Dtype::f16);
  EXPECT_EQ(half.bytes.size(), 12u);
  EXPECT_EQ(as_float32(half, "w"),
            (std::vector<float>{1.0f, 1.0f + 0x1p-9f, -65504.0f, 0x1p-24f, 0.0f, -0.0999755859375f}));
  // Every finite half there is comes back as itself.
  std::vector<uint16_t> all;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00) != 0x7c00) all.push_back(static_cast<uint16_t>(bits));
  }
  const TensorView every{Dtype::f16, {static_cast<int64_t>(all.size())}, std::as_bytes(std::span(all))};
  EXPECT_TRUE(std::ranges::equal(halved(every, "w", made).bytes, every.bytes));
  for (const float bad : {65520.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THROW(halved({Dtype::f32, {1}, std::as_bytes(std::span(&bad, 1))}, "w", made), Error);
  }
}

TEST(FloatTensors, AMixHasAShareOfTheOther) {
  const float one[] = {1, 2, -8}, other[] = {3, 6, 0};
  Arrays made;
  const auto view = [](const float(&values)[3]) {
    return TensorView{Dtype::f32, {3}, std::as_bytes(std::span(values))};
  };
  const auto mix = [&](double share) { return as_float32(mixed(view(one), view(other), share, "t", made), "t"); };
  EXPECT_EQ(mix(0.25), (std::vector<float>{1.5f, 3.0f, -6.0f}));
  EXPECT_EQ(mix(0), (std::vector<float>{1, 2, -8}));
  EXPECT_EQ(mix(1), (std::vector<float>{3, 6, 0}));
}

}  // namespace
}  // namespace melflow::files
