#include "audio/lane_fft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "audio/fft.h"
#include "tests/audio/precisions.h"
#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;
using melflow::testing::PrecisionName;
using melflow::testing::Precisions;

constexpr int kLanes = kFftLanes;

/// Frames that lie side by side: sample t of all lanes at t·kLanes.
struct Frames {
  explicit Frames(int n_)
      : n(n_), offset(static_cast<size_t>(n)), window(static_cast<size_t>(n)), samples(noise(offset.size() * kLanes)) {
    for (size_t t = 0; t < offset.size(); ++t) {
      offset[t] = static_cast<int32_t>(t) * kLanes;
      window[t] = 1.0 + std::sin(static_cast<double>(t));
    }
  }

  template <typename Real>
  std::vector<Real> spectrum(const LaneFftKernels<Real>& kernels, int count = kLanes) const {
    std::vector<Real> out(static_cast<size_t>((n + 2) * kLanes));
    BasicLaneFft<Real>(window, offset, n / 2 + 1, kLanes, kernels).spectrum(samples.data(), count, out.data());
    return out;
  }

  int n;
  std::vector<int32_t> offset;
  std::vector<double> window;
  std::vector<float> samples;
};

/// Its tests hold for every instruction set that this machine runs.
template <typename Real>
class LaneFftOf : public ::testing::Test {
 protected:
  static constexpr double kEpsilon = std::numeric_limits<Real>::epsilon();
  template <typename Check>
  void for_each_kernel(Check check) {
    for (const auto* kernels : runnable_lane_fft_kernels<Real>()) {
      SCOPED_TRACE(kernels->name);
      check(*kernels);
    }
  }
};
TYPED_TEST_SUITE(LaneFftOf, Precisions, PrecisionName);

TYPED_TEST(LaneFftOf, EqualsRealFftForEverySizeAndLane) {
  this->for_each_kernel([&](const auto& kernels) {
    for (int n = 32; n <= 16384; n *= 2) {
      const Frames frames(n);
      const auto out = frames.spectrum(kernels);
      RealFft fft(n);
      for (size_t lane = 0; lane < kLanes; ++lane) {
        for (size_t t = 0; t < frames.window.size(); ++t) {
          fft.real()[t] = frames.window[t] * frames.samples[t * kLanes + lane];
        }
        fft.forward();
        double largest = 0.0, difference = 0.0;
        for (size_t k = 0; k < static_cast<size_t>(fft.bins()); ++k) {
          const std::complex<double> actual(out[2 * k * kLanes + lane], out[(2 * k + 1) * kLanes + lane]);
          largest = std::max(largest, std::abs(fft.spectrum()[k]));
          difference = std::max(difference, std::abs(fft.spectrum()[k] - actual));
        }
        ASSERT_LE(difference, 9 * this->kEpsilon * largest) << n << ", lane " << lane;
      }
    }
  });
}

TYPED_TEST(LaneFftOf, ComputesEachLaneAloneWhateverTheOthersHold) {
  this->for_each_kernel([&](const auto& kernels) {
    for (const int n : {32, 64, 1024}) {
      Frames frames(n);
      for (size_t t = 0; t < frames.offset.size(); ++t) {
        // One sound in all lanes but one, which holds what spreads most easily.
        for (size_t lane = 1; lane < kLanes; ++lane) frames.samples[t * kLanes + lane] = frames.samples[t * kLanes];
        frames.samples[t * kLanes + 5] = t % 2 == 0 ? std::numeric_limits<float>::infinity() : std::nanf("");
      }
      const auto out = frames.spectrum(kernels), alone = frames.spectrum(kernels, 1);
      for (size_t i = 0; i < out.size(); i += kLanes) {
        EXPECT_EQ(alone[i], out[i]);
        for (size_t lane = 1; lane < kLanes; ++lane) {
          if (lane == 5) continue;
          ASSERT_EQ(out[i + lane], out[i]) << n << ", lane " << lane;
        }
        // The imaginary parts of the first and the last bin are zero by definition.
        if (i == kLanes || i == out.size() - kLanes) continue;
        EXPECT_FALSE(std::isfinite(out[i + 5]));
      }
    }
  });
}

TYPED_TEST(LaneFftOf, WritesTheMagnitudesOfTheWantedBinsAndNothingBehindThem) {
  constexpr auto kOffset = static_cast<TypeParam>(1e-9);
  this->for_each_kernel([&](const auto& kernels) {
    for (const int n : {32, 256, 512, 1024}) {
      const Frames frames(n);
      const auto spectrum = frames.spectrum(kernels);
      for (const int bins : {1, n / 5, n / 4 + 1, n / 2, n / 2 + 1}) {
        std::vector<float> out(static_cast<size_t>((n / 2 + 2) * kLanes), -1.0f);
        BasicLaneFft<TypeParam>(frames.window, frames.offset, bins, kLanes, kernels)
            .magnitudes(frames.samples.data(), kLanes, kOffset, out.data());
        for (size_t i = 0; i < out.size(); ++i) {
          const size_t k = i / kLanes, lane = i % kLanes;
          if (k >= static_cast<size_t>(bins)) {
            ASSERT_EQ(out[i], -1.0f) << n << ", bin " << k << " of " << bins;
            continue;
          }
          const double re = spectrum[2 * k * kLanes + lane], im = spectrum[(2 * k + 1) * kLanes + lane];
          const double expected = std::sqrt(re * re + im * im + kOffset);
          ASSERT_NEAR(out[i], expected, (1.2e-7 + 2 * this->kEpsilon) * expected)
              << n << ", bin " << k << " of " << bins;
        }
      }
    }
  });
}

TYPED_TEST(LaneFftOf, KeepsTinyNumbers) {
  this->for_each_kernel([&](const auto& kernels) {
    Frames frames(64);
    // In single precision what is below the smallest normal number would lose its digits.
    const float tiny = sizeof(TypeParam) == sizeof(double) ? std::numeric_limits<float>::denorm_min() : 1e-36f;
    std::ranges::fill(frames.samples, tiny);
    const double sum = std::accumulate(frames.window.begin(), frames.window.end(), 0.0);
    EXPECT_NEAR(frames.spectrum(kernels)[0] / tiny, sum, 9 * this->kEpsilon * sum);
  });
}

TEST(LaneFft, ServesPowersOfTwo) {
  for (const int n : {-2, 0, 1, 2, 16, 48, 1000, 1022, 32768}) EXPECT_FALSE(LaneFft::serves(n)) << n;
  for (const int n : {32, 64, 1024, 16384}) EXPECT_TRUE(LaneFft::serves(n)) << n;
}

}  // namespace
}  // namespace melflow::audio
