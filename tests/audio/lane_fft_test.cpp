#include "audio/lane_fft.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "audio/fft.h"
#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;

constexpr int kLanes = LaneFft::kLanes;

/// Frames that lie side by side: sample t of all lanes at t·kLanes.
struct Frames {
  explicit Frames(int n_)
      : n(n_), offset(static_cast<size_t>(n)), window(static_cast<size_t>(n)), samples(noise(offset.size() * kLanes)) {
    for (size_t t = 0; t < offset.size(); ++t) {
      offset[t] = static_cast<int32_t>(t) * kLanes;
      window[t] = 1.0 + std::sin(static_cast<double>(t));
    }
  }

  std::vector<double> spectrum(const LaneFftKernels& kernels, int count = kLanes) const {
    std::vector<double> out(static_cast<size_t>((n + 2) * kLanes));
    LaneFft(window, offset, n / 2 + 1, kernels).spectrum(samples.data(), count, out.data());
    return out;
  }

  int n;
  std::vector<int32_t> offset;
  std::vector<double> window;
  std::vector<float> samples;
};

class LaneFftOf : public ::testing::TestWithParam<const LaneFftKernels*> {};

TEST_P(LaneFftOf, EqualsRealFftForEverySizeAndLane) {
  for (int n = 32; n <= 16384; n *= 2) {
    const Frames frames(n);
    const std::vector<double> out = frames.spectrum(*GetParam());
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
      ASSERT_LE(difference, 2e-15 * largest) << n << ", lane " << lane;
    }
  }
}

TEST_P(LaneFftOf, ComputesEachLaneAloneWhateverTheOthersHold) {
  for (const int n : {32, 64, 1024}) {
    Frames frames(n);
    for (size_t t = 0; t < frames.offset.size(); ++t) {
      // One sound in all lanes but one, which holds what spreads most easily.
      for (size_t lane = 1; lane < kLanes; ++lane) frames.samples[t * kLanes + lane] = frames.samples[t * kLanes];
      frames.samples[t * kLanes + 5] = t % 2 == 0 ? std::numeric_limits<float>::infinity() : std::nanf("");
    }
    const std::vector<double> out = frames.spectrum(*GetParam()), alone = frames.spectrum(*GetParam(), 1);
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
}

TEST_P(LaneFftOf, WritesTheMagnitudesOfTheWantedBinsAndNothingBehindThem) {
  constexpr double kEpsilon = 1e-9;
  for (const int n : {32, 256, 512, 1024}) {
    const Frames frames(n);
    const std::vector<double> spectrum = frames.spectrum(*GetParam());
    for (const int bins : {1, n / 5, n / 4 + 1, n / 2, n / 2 + 1}) {
      std::vector<float> out(static_cast<size_t>((n / 2 + 2) * kLanes), -1.0f);
      LaneFft(frames.window, frames.offset, bins, *GetParam())
          .magnitudes(frames.samples.data(), kLanes, kEpsilon, out.data());
      for (size_t i = 0; i < out.size(); ++i) {
        const size_t k = i / kLanes, lane = i % kLanes;
        if (k >= static_cast<size_t>(bins)) {
          ASSERT_EQ(out[i], -1.0f) << n << ", bin " << k << " of " << bins;
          continue;
        }
        const double re = spectrum[2 * k * kLanes + lane], im = spectrum[(2 * k + 1) * kLanes + lane];
        const double expected = std::sqrt(re * re + im * im + kEpsilon);
        ASSERT_NEAR(out[i], expected, 2e-7 * expected) << n << ", bin " << k << " of " << bins;
      }
    }
  }
}

TEST_P(LaneFftOf, KeepsTinyNumbers) {
  Frames frames(64);
  std::ranges::fill(frames.samples, std::numeric_limits<float>::denorm_min());
  const double sum = std::accumulate(frames.window.begin(), frames.window.end(), 0.0);
  EXPECT_NEAR(frames.spectrum(*GetParam())[0] / std::numeric_limits<float>::denorm_min(), sum, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, LaneFftOf, ::testing::ValuesIn(runnable_lane_fft_kernels()),
                         [](const auto& of) { return "Width" + std::to_string(of.param->width); });

TEST(LaneFft, ServesPowersOfTwo) {
  for (const int n : {-2, 0, 1, 2, 16, 48, 1000, 1022, 32768}) EXPECT_FALSE(LaneFft::serves(n)) << n;
  for (const int n : {32, 64, 1024, 16384}) EXPECT_TRUE(LaneFft::serves(n)) << n;
}

}  // namespace
}  // namespace melflow::audio
