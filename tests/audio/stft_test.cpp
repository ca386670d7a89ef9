#include "audio/stft.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.h"
#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;
using melflow::testing::sine;

TEST(Stft, InverseGivesTheSignalBack) {
  const std::vector<StftOptions> all = {{},
                                        {.pad = Padding::zero},
                                        {.centre = false},
                                        {.n_fft = 512, .hop_length = 160, .win_length = 400},
                                        {.n_fft = 2048, .hop_length = 512, .win_length = 2048}};
  for (const StftOptions& options : all) {
    for (const size_t length : {size_t{1500}, size_t{5000}, size_t{5120}}) {
      const auto signal = noise(length);
      Stft stft(options);
      const auto back = stft.inverse(stft.forward(signal), static_cast<int64_t>(length));
      ASSERT_EQ(back.size(), length);
      // Where the last frames end before the signal does (a remainder shorter than a hop), nothing can be known.
      const int64_t covered = (options.frames(static_cast<int64_t>(length)) - 1) * options.hop_length + options.n_fft -
                              options.pad_length() - (options.n_fft - options.win_length) / 2;
      for (size_t t = 0; t < std::min<size_t>(length, static_cast<size_t>(covered) - 16); ++t) {
        ASSERT_NEAR(back[t], signal[t], 1e-5) << "n_fft " << options.n_fft << ", sample " << t << " of " << length;
      }
    }
  }
}

TEST(Stft, OfASineHasItsEnergyInItsBin) {
  constexpr int kRate = 22050, kBin = 100;
  Stft stft({});
  const auto spectrogram = stft.forward(sine(static_cast<double>(kBin) * kRate / 1024, kRate, 8192, 1.0));
  const auto frame = spectrogram.frame(16);
  // A Hann window sums to n/2, half of which goes to the negative frequency.
  EXPECT_NEAR(std::abs(frame[kBin]), 256.0, 0.01);
  EXPECT_NEAR(std::abs(frame[kBin + 1]), 128.0, 0.01);
  EXPECT_NEAR(std::abs(frame[kBin + 10]), 0.0, 0.01);
}

TEST(Stft, FramesAreCountedAsByNumPysReflectPadding) {
  EXPECT_EQ(StftOptions{}.frames(513), 3);
  EXPECT_EQ(StftOptions{}.frames(512), 0);
  EXPECT_EQ(StftOptions{}.frames(16000), 63);
  EXPECT_EQ(StftOptions{.centre = false}.frames(16000), 62);
  EXPECT_EQ(StftOptions{.centre = false}.frames(384), 0);
  EXPECT_EQ(StftOptions{.pad = Padding::zero}.frames(1), 1);
  EXPECT_EQ(StftOptions{.pad = Padding::zero}.frames(0), 0);
}

TEST(Stft, ReflectsWithoutRepeatingTheEnd) {
  const StftOptions options{.n_fft = 8, .hop_length = 2, .win_length = 8};
  const std::vector<float> signal = {0, 1, 2, 3, 4, 5, 6, 7};
  const std::vector<double> flat(8, 1.0);
  std::vector<double> frame(8);
  load_frame(options, signal, flat, 0, frame);
  EXPECT_EQ(frame, (std::vector<double>{4, 3, 2, 1, 0, 1, 2, 3}));
  load_frame(options, signal, flat, 4, frame);
  EXPECT_EQ(frame, (std::vector<double>{4, 5, 6, 7, 6, 5, 4, 3}));
}

TEST(Stft, WindowIsPeriodic) {
  const auto window = hann_window(4);
  for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(window[t], std::vector<double>({0.0, 0.5, 1.0, 0.5})[t], 1e-15);
}

TEST(Stft, RefusesOptionsThatMakeNoSenseAndSignalsThatAreTooShort) {
  EXPECT_THROW(Stft({.n_fft = 7}), Error);
  EXPECT_THROW(Stft({.hop_length = 0}), Error);
  EXPECT_THROW(Stft({.win_length = 2048}), Error);
  EXPECT_THROW(Stft({}).forward(std::vector<float>(512)), Error);
}

}  // namespace
}  // namespace melflow::audio
