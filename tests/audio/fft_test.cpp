#include "audio/fft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/audio/precisions.h"
#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;
using melflow::testing::PrecisionName;
using melflow::testing::Precisions;

/// Its tests hold in either precision.
template <typename Real>
struct RealFftOf : ::testing::Test {
  static constexpr double kNear = sizeof(Real) == sizeof(double) ? 1e-12 : 1e-6;
};
TYPED_TEST_SUITE(RealFftOf, Precisions, PrecisionName);

/// The definition, term by term.
template <typename Real>
std::complex<double> transform_by_definition(std::span<const Real> x, int k) {
  std::complex<double> sum;
  for (size_t t = 0; t < x.size(); ++t) {
    sum += static_cast<double>(x[t]) *
           std::polar(1.0, -2.0 * std::numbers::pi * k * static_cast<double>(t) / static_cast<double>(x.size()));
  }
  return sum;
}

TYPED_TEST(RealFftOf, EqualsItsDefinitionForEverySize) {
  for (const int n : {1, 2, 6, 30, 45, 256, 400, 1022}) {
    BasicRealFft<TypeParam> fft(n);
    std::ranges::copy(noise(static_cast<size_t>(n), 1.0, static_cast<uint64_t>(n)), fft.real().begin());
    fft.forward();
    for (int k = 0; k < fft.bins(); ++k) {
      const auto expected = transform_by_definition<TypeParam>(fft.real(), k);
      const std::complex<double> bin = fft.spectrum()[static_cast<size_t>(k)];
      ASSERT_NEAR(std::abs(bin - expected), 0.0, this->kNear * n) << n << " " << k;
    }
  }
}

TYPED_TEST(RealFftOf, InverseOfForwardIsTheSizeTimesTheOriginal) {
  constexpr int kSize = 1024;
  BasicRealFft<TypeParam> fft(kSize);
  const auto original = noise(kSize);
  std::ranges::copy(original, fft.real().begin());
  fft.forward();
  std::ranges::fill(fft.real(), TypeParam{0});
  fft.inverse();
  for (size_t t = 0; t < kSize; ++t) ASSERT_NEAR(fft.real()[t] / kSize, original[t], this->kNear);
}

TYPED_TEST(RealFftOf, StartsWithZeros) {
  BasicRealFft<TypeParam> fft(512);
  EXPECT_TRUE(std::ranges::all_of(fft.real(), [](auto value) { return value == 0.0; }));
  EXPECT_TRUE(std::ranges::all_of(fft.spectrum(), [](auto value) { return std::abs(value) == 0.0; }));
}

TYPED_TEST(RealFftOf, WorksAfterItWasMoved) {
  BasicRealFft<TypeParam> first(8);
  first.real()[0] = 1.0;
  BasicRealFft<TypeParam> second = std::move(first);
  second.forward();
  for (const std::complex<double> value : second.spectrum()) EXPECT_EQ(value, 1.0);
}

}  // namespace
}  // namespace melflow::audio
