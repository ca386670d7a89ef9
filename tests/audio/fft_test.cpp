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

TEST(RealFft, EqualsItsDefinitionForEverySizeAndRow) {
  for (const int n : {2, 6, 30, 256, 400, 1022}) {
    constexpr int kRows = 3;
    RealFft fft(n, kRows);
    for (int row = 0; row < kRows; ++row) {
      std::ranges::copy(noise(static_cast<size_t>(n), 1.0, static_cast<uint64_t>(row)), fft.real(row).begin());
    }
    fft.forward();
    for (int row = 0; row < kRows; ++row) {
      for (int k = 0; k < fft.bins(); ++k) {
        const auto expected = transform_by_definition(fft.real(row), k);
        ASSERT_NEAR(std::abs(fft.spectrum(row)[static_cast<size_t>(k)] - expected), 0.0, 1e-10 * n) << n << " " << k;
      }
    }
  }
}

TEST(RealFft, InverseOfForwardIsTheSizeTimesTheOriginal) {
  constexpr int kSize = 1024, kRows = 5;
  RealFft fft(kSize, kRows, Planning::measure);
  const auto original = noise(kSize * kRows);
  for (int row = 0; row < kRows; ++row) std::copy_n(original.begin() + row * kSize, kSize, fft.real(row).begin());
  fft.forward();
  for (int row = 0; row < kRows; ++row) std::ranges::fill(fft.real(row), 0.0);
  fft.inverse();
  for (int row = 0; row < kRows; ++row) {
    for (size_t t = 0; t < kSize; ++t) {
      ASSERT_NEAR(fft.real(row)[t] / kSize, original[static_cast<size_t>(row) * kSize + t], 1e-12);
    }
  }
}

TEST(RealFft, StartsWithZeros) {
  RealFft fft(512, 2, Planning::measure);
  fft.forward();
  EXPECT_TRUE(std::ranges::all_of(fft.spectrum(1), [](std::complex<double> value) { return value == 0.0; }));
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
