#include "audio/quality.h"

#include <gtest/gtest.h>

#include <cmath>

#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/audio/signals.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::in_tree;
using melflow::testing::noise;
using melflow::testing::sine;

Waveform golden_clip() { return read_audio(in_tree("data/golden/LJ001-0002.wav")); }

TEST(Quality, OfTheRecordingItselfIsPerfect) {
  const Waveform speech = golden_clip();
  const Quality quality = compare(speech, speech, {});
  EXPECT_EQ(quality.log_stft, 0.0);
  EXPECT_EQ(quality.spectral_convergence, 0.0);
  EXPECT_EQ(quality.mel_l1, 0.0);
  EXPECT_EQ(quality.voicing_f1, 1.0);
  EXPECT_EQ(quality.pitch_error_cents, 0.0);
}

TEST(Quality, OfAnotherLoudnessIsThatLoudness) {
  const Waveform speech{noise(30000), 22050};
  Waveform half = speech;
  for (float& sample : half.samples) sample *= 0.5f;
  const Quality quality = compare(speech, half, {});
  EXPECT_NEAR(quality.log_stft, std::log(2.0), 1e-4);
  EXPECT_NEAR(quality.mel_l1, std::log(2.0), 1e-4);
  EXPECT_NEAR(quality.spectral_convergence, 0.5, 1e-6);
}

TEST(Quality, OfAHalftoneIsAHundredCents) {
  const Waveform low{sine(220.0, 22050, 22050), 22050}, high{sine(220.0 * std::exp2(1.0 / 12.0), 22050, 22050), 22050};
  const Quality quality = compare(low, high, {});
  EXPECT_NEAR(quality.pitch_error_cents, 100.0, 3.0);
  EXPECT_GT(quality.voicing_f1, 0.99);
}

TEST(Quality, VoicingCountsWhatIsMissingAndWhatIsTooMuch) {
  const Waveform whole{sine(220.0, 22050, 44100), 22050};
  Waveform half = whole;
  std::fill(half.samples.begin() + 22050, half.samples.end(), 0.0f);
  EXPECT_NEAR(compare(whole, half, {}).voicing_f1, 2.0 / 3, 0.03);
  EXPECT_NEAR(compare(half, whole, {}).voicing_f1, 2.0 / 3, 0.03);
}

TEST(Quality, OfNoiseInPlaceOfSpeechIsBadInEveryNumber) {
  const Waveform speech = golden_clip();
  const Waveform hiss{noise(speech.samples.size(), 0.1), 22050};
  const Quality quality = compare(speech, hiss, {});
  EXPECT_GT(quality.log_stft, 1.5);
  EXPECT_GT(quality.spectral_convergence, 0.9);
  EXPECT_GT(quality.mel_l1, 1.5);
  EXPECT_LT(quality.voicing_f1, 0.1);
  EXPECT_TRUE(std::isnan(quality.pitch_error_cents));
}

TEST(Quality, CutsBothToTheShorter) {
  const Waveform speech = golden_clip();
  Waveform longer = speech;
  longer.samples.resize(longer.samples.size() + 1000, 0.5f);
  EXPECT_EQ(compare(speech, longer, {}).log_stft, 0.0);
  EXPECT_EQ(compare(longer, speech, {}).log_stft, 0.0);
}

TEST(Quality, RefusesSoundsThatAreTooShortOrOfAnotherRate) {
  EXPECT_THROW(compare({noise(2000), 22050}, {noise(2000), 22050}, {}), Error);
  EXPECT_THROW(compare({noise(5000), 16000}, {noise(5000), 16000}, {}), Error);
}

TEST(Quality, HearsTheHumOfGroupsOnly) {
  constexpr int kHummed = 22050;
  const auto hiss = noise(3 * kHummed, 0.1);
  EXPECT_NEAR(hum_db(hiss, 8), 0.0, 1.0);
  auto humming = hiss, whistling = hiss;
  for (int k = 1; k <= 3; ++k) {
    const auto tone = sine(k * kHummed / 8.0, kHummed, hiss.size(), 0.02);
    for (size_t t = 0; t < hiss.size(); ++t) humming[t] += tone[t];
  }
  for (int k = 1; k <= 3; ++k) {  // each of them counts
    auto one = hiss;
    const auto tone = sine(k * kHummed / 8.0, kHummed, hiss.size(), 0.02);
    for (size_t t = 0; t < hiss.size(); ++t) one[t] += tone[t];
    EXPECT_GT(hum_db(one, 8), 2.0) << k;
  }
  const auto elsewhere = sine(kHummed / 8.0 * 1.5, kHummed, hiss.size(), 0.02);
  for (size_t t = 0; t < hiss.size(); ++t) whistling[t] += elsewhere[t];
  EXPECT_GT(hum_db(humming, 8), 6.0);
  EXPECT_NEAR(hum_db(whistling, 8), 0.0, 1.0);
  // The tones of n_group 24 are not on the grid of the transform.
  EXPECT_NEAR(hum_db(hiss, 24), 0.0, 1.0);
  EXPECT_EQ(hum_db(std::vector<float>(10000, 0.0f), 8), 0.0);
  EXPECT_EQ(hum_db(std::vector<float>(10, 0.5f), 8), 0.0);
}

}  // namespace
}  // namespace melflow::audio
