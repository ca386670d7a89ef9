#include "audio/fft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;

/// The definition, term by term.
std::complex<double> transform_by_definition(std::span<const double> x, int k) {
  std::complex<double> sum;
  for (size_t t = 0; t < x.size(); ++t) {
    sum += x[t] * std::polar(1.0, -2.0 * std::numbers::pi * k * static_cast<double>(t) / static_cast<double>(x.size()));
  }
  return sum;
}

TEST(RealFft, EqualsItsDefinitionForEverySize) {
  for (const int n : {1, 2, 6, 30, 45, 256, 400, 1022}) {
    RealFft fft(n);
    std::ranges::copy(noise(static_cast<size_t>(n), 1.0, static_cast<uint64_t>(n)), fft.real().begin());
    fft.forward();
    for (int k = 0; k < fft.bins(); ++k) {
      const auto expected = transform_by_definition(fft.real(), k);
      ASSERT_NEAR(std::abs(fft.spectrum()[static_cast<size_t>(k)] - expected), 0.0, 1e-10 * n) << n << " " << k;
    }
  }
}

TEST(RealFft, InverseOfForwardIsTheSizeTimesTheOriginal) {
  constexpr int kSize = 1024;
  RealFft fft(kSize);
  const auto original = noise(kSize);
  std::ranges::copy(original, fft.real().begin());
  fft.forward();
  std::ranges::fill(fft.real(), 0.0);
  fft.inverse();
  for (size_t t = 0; t < kSize; ++t) ASSERT_NEAR(fft.real()[t] / kSize, original[t], 1e-12);
}

TEST(RealFft, StartsWithZeros) {
  RealFft fft(512);
  EXPECT_TRUE(std::ranges::all_of(fft.real(), [](double value) { return value == 0.0; }));
  EXPECT_TRUE(std::ranges::all_of(fft.spectrum(), [](std::complex<double> value) { return value == 0.0; }));
}

TEST(RealFft, WorksAfterItWasMoved) {
  RealFft first(8);
  first.real()[0] = 1.0;
  RealFft second = std::move(first);
  second.forward();
  for (const std::complex<double> value : second.spectrum()) EXPECT_EQ(value, 1.0);
}

}  // namespace
}  // namespace melflow::audio
