#include "audio/frame_magnitudes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;

constexpr int kFrameLanes = FrameMagnitudes::kLanes;
constexpr double kEpsilon = 1e-9;

/// [bins] of one frame, by FFTW.
std::vector<double> expected_magnitudes(const StftOptions& options, std::span<const float> samples, int64_t frame) {
  RealFft fft(options.n_fft);
  load_frame(options, samples, hann_window(options.win_length), frame, fft.real());
  fft.forward();
  std::vector<double> out;
  for (const std::complex<double> value : fft.spectrum()) out.push_back(std::sqrt(std::norm(value) + kEpsilon));
  return out;
}

const std::vector<StftOptions> kCuts = {{},
                                        {.pad = Padding::zero},
                                        {.centre = false},
                                        {.n_fft = 512, .hop_length = 160, .win_length = 400},
                                        {.n_fft = 512, .hop_length = 512, .win_length = 512, .pad = Padding::zero},
                                        {.n_fft = 64, .hop_length = 1, .win_length = 63},
                                        {.n_fft = 64, .hop_length = 7, .win_length = 1},
                                        {.n_fft = 2048, .hop_length = 300, .win_length = 1999, .centre = false},
                                        {.n_fft = 32, .hop_length = 32, .win_length = 32, .pad = Padding::zero},
                                        {.n_fft = 400, .hop_length = 160, .win_length = 400},
                                        {.n_fft = 16, .hop_length = 4, .win_length = 16}};

TEST(FrameMagnitudes, EqualFftwsForEveryCutOfASignal) {
  for (const StftOptions& options : kCuts) {
    FrameMagnitudes magnitudes(options, options.bins(), kEpsilon);
    for (const size_t length : {size_t{1100}, size_t{5000}, size_t{12345}}) {
      const auto signal = noise(length);
      const int64_t frames = options.frames(static_cast<int64_t>(length));
      for (int64_t first = 0; first < frames; first += std::max<int64_t>(kFrameLanes, frames / 7)) {
        const int count = static_cast<int>(std::min<int64_t>(kFrameLanes, frames - first));
        const float* out = magnitudes(signal, first, count);
        for (int lane = 0; lane < count; ++lane) {
          const auto expected = expected_magnitudes(options, signal, first + lane);
          const double largest = *std::ranges::max_element(expected);
          for (size_t k = 0; k < expected.size(); ++k) {
            ASSERT_NEAR(out[k * kFrameLanes + static_cast<size_t>(lane)], expected[k],
                        1e-7 * largest + 1e-7 * expected[k])
                << "n_fft " << options.n_fft << ", frame " << first + lane << " of " << frames << ", bin " << k;
          }
        }
      }
    }
  }
}

// A window's first weight is zero, and zero times NaN is NaN: the frame that begins there is lost, no other.
TEST(FrameMagnitudes, OfFramesThatDoNotSeeItAreNotChangedByASampleThatIsNoNumber) {
  const StftOptions options{.n_fft = 512, .hop_length = 128, .win_length = 400};
  constexpr size_t kBad = 3000;
  auto signal = noise(6000);
  FrameMagnitudes magnitudes(options, options.bins(), 0.0);
  const auto numbers = static_cast<size_t>(options.bins()) * kFrameLanes;
  const float* out = magnitudes(signal, 16, kFrameLanes);
  const std::vector<float> before(out, out + numbers);
  for (const float bad : {std::nanf(""), HUGE_VALF}) {
    signal[kBad] = bad;
    out = magnitudes(signal, 16, kFrameLanes);
    int lost = 0;
    for (size_t lane = 0; lane < kFrameLanes; ++lane) {
      const auto begin = (16 + lane) * 128 - 256 + 56;
      const bool sees = begin <= kBad && kBad < begin + 400;
      lost += sees ? 1 : 0;
      for (size_t i = lane; i < numbers; i += kFrameLanes) {
        if (sees) {
          EXPECT_FALSE(std::isfinite(out[i]));
        } else {
          ASSERT_EQ(out[i], before[i]);
        }
      }
    }
    EXPECT_EQ(lost, 4);
  }
}

}  // namespace
}  // namespace melflow::audio
