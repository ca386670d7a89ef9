#include "audio/pitch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "audio/sound_file.h"
#include "tests/audio/signals.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::noise;
using melflow::testing::sine;

/// A voice-like tone: twenty harmonics that fall by 1/k.
std::vector<float> buzz(double hz, int sample_rate, size_t samples) {
  std::vector<float> sum(samples, 0.0f);
  for (int k = 1; k <= 20; ++k) {
    const auto part = sine(k * hz, sample_rate, samples, 0.2 / k);
    for (size_t t = 0; t < samples; ++t) sum[t] += part[t];
  }
  return sum;
}

TEST(Pitch, OfTonesIsWithinAFewCents) {
  for (const int rate : {16000, 22050}) {
    for (const double hz : {90.0, 123.4, 220.0, 333.3, 450.0}) {
      for (const auto& sound : {sine(hz, rate, 8192), buzz(hz, rate, 8192)}) {
        const auto track = pitch_track({sound, rate});
        ASSERT_EQ(track.size(), 33u);
        for (size_t frame = 4; frame < 28; ++frame) {
          ASSERT_GT(track[frame], 0.0f) << hz;
          EXPECT_LT(std::abs(1200.0 * std::log2(track[frame] / hz)), 6.0) << hz << " at " << rate;
        }
      }
    }
  }
}

TEST(Pitch, OfNoiseAndSilenceIsUnvoiced) {
  for (const auto& sound : {noise(8192), std::vector<float>(8192, 0.0f)}) {
    for (const float hz : pitch_track({sound, 22050})) EXPECT_EQ(hz, 0.0f);
  }
}

TEST(Pitch, StaysWithinItsRangeAndDoesNotDependOnLevel) {
  const auto track = pitch_track({noise(20000), 22050}, {.threshold = 0.9});
  for (const float hz : track) EXPECT_TRUE(hz == 0.0f || (hz > 75.0f && hz < 550.0f)) << hz;
  auto quiet = buzz(200.0, 22050, 8192);
  for (float& sample : quiet) sample *= 0.125f;
  const auto loud = pitch_track({buzz(200.0, 22050, 8192), 22050}), soft = pitch_track({quiet, 22050});
  for (size_t frame = 4; frame < 28; ++frame) EXPECT_NEAR(loud[frame], soft[frame], 0.01);
}

TEST(Pitch, OfAWomansVoiceLooksLikeOne) {
  const auto track = pitch_track(read_audio(melflow::testing::in_tree("data/golden/LJ001-0002.wav")));
  std::vector<float> voiced;
  std::ranges::copy_if(track, std::back_inserter(voiced), [](float hz) { return hz > 0.0f; });
  EXPECT_GT(voiced.size(), track.size() / 3);
  std::ranges::sort(voiced);
  EXPECT_GT(voiced[voiced.size() / 2], 160.0f);
  EXPECT_LT(voiced[voiced.size() / 2], 280.0f);
}

TEST(Pitch, TakesTheShortestSounds) {
  EXPECT_EQ(pitch_track({{}, 22050}).size(), 1u);
  EXPECT_EQ(pitch_track({{0.5f}, 22050}), std::vector<float>{0.0f});
}

TEST(Pitch, OfWhatIsTooQuietIsUnvoiced) {
  auto whisper = buzz(200.0, 22050, 8192);
  for (float& sample : whisper) sample *= 0.001f;
  for (const float hz : pitch_track({whisper, 22050})) EXPECT_EQ(hz, 0.0f);
}

TEST(Pitch, FramesLieWhereTheirSoundIs) {
  std::vector<float> sound(40 * 256, 0.0f);
  const auto tone = buzz(200.0, 22050, 20 * 256);
  sound.insert(sound.end(), tone.begin(), tone.end());
  sound.resize(100 * 256, 0.0f);
  const auto track = pitch_track({sound, 22050});
  const auto voiced = [](float hz) { return hz > 0.0f; };
  const auto first = std::ranges::find_if(track, voiced) - track.begin();
  const auto end = std::find_if(track.rbegin(), track.rend(), voiced).base() - track.begin();
  EXPECT_NEAR(static_cast<double>(first + end) / 2, 50, 1.5);  // frames 40 to 60
}

}  // namespace
}  // namespace melflow::audio
