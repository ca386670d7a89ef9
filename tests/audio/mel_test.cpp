#include "audio/mel.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/audio/reference_files.h"
#include "tests/audio/signals.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::in_tree;
using melflow::testing::noise;
using melflow::testing::npy_values;
using melflow::testing::read_bytes;
using melflow::testing::shared;

void expect_close(const std::vector<float>& actual, const std::vector<float>& expected, double max_gate,
                  double mean_gate, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0.0, sum = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double difference = std::abs(static_cast<double>(actual[i]) - expected[i]);
    // A NaN must not slip through a comparison.
    ASSERT_TRUE(std::isfinite(difference)) << what;
    largest = std::max(largest, difference);
    sum += difference;
  }
  EXPECT_LE(largest, max_gate) << what;
  EXPECT_LE(sum / static_cast<double>(actual.size()), mean_gate) << what;
}

Waveform golden_clip() { return read_audio(in_tree("data/golden/LJ001-0002.wav")); }

/// The clips of shared/reference/mel, relabelled with the recipe's rate.
void expect_matches_reference(const std::string& name, const MelOptions& recipe, double max_gate, double mean_gate) {
  for (const std::string clip : {"LJ001-0001", "LJ001-0002", "LJ001-0005"}) {
    const Waveform speech =
        read_audio(shared("data/speech/ljspeech_pd_22k/wavs/" + clip + ".wav"), {.assume_rate = recipe.sample_rate});
    const auto expected = npy_values(read_bytes(shared("reference/mel/" + clip + "." + name + ".npy")));
    expect_close(MelExtractor(recipe)(speech).values, expected, max_gate, mean_gate, clip + " " + name);
  }
}

TEST(Mel, MatchesNvidiaOnTheGoldenClip) {
  const auto expected = npy_values(read_bytes(in_tree("data/golden/LJ001-0002.nvidia_22050_1024_256_80.npy")));
  const Mel mel = MelExtractor({})(golden_clip());
  EXPECT_EQ(mel.n_mels, 80);
  EXPECT_EQ(mel.frames, 164);
  EXPECT_EQ(mel.recipe, MelOptions{});
  expect_close(mel.values, expected, 5e-4, 1e-5, "nvidia");
}

// Ten times closer than the reference's own gate: both are the double precision result, rounded to float32.
TEST(Mel, MatchesLibrosaOnTheGoldenClip) {
  const auto expected = npy_values(read_bytes(in_tree("data/golden/LJ001-0002.librosa_22050_1024_256_80_slaney.npy")));
  expect_close(MelExtractor({})(golden_clip()).values, expected, 1e-5, 1e-6, "librosa");
}

TEST(Mel, MatchesNvidiaOnLjSpeech) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference("nvidia_22050_1024_256_80", {}, 5e-4, 1e-5);
}

TEST(Mel, MatchesLibrosaOnLjSpeech) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference("librosa_22050_1024_256_80_slaney", {}, 1e-5, 1e-6);
}

TEST(Mel, MatchesLibrosaWithAShortWindowAndHtkBandsOfPeakOne) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference("librosa_16000_512_160w400_64_htk_nonorm",
                           {.sample_rate = 16000,
                            .n_fft = 512,
                            .hop_length = 160,
                            .win_length = 400,
                            .n_mels = 64,
                            .f_min = 20,
                            .f_max = 7600,
                            .scale = MelScale::htk,
                            .norm = MelNorm::none},
                           1e-5, 1e-6);
}

TEST(Mel, MatchesLibrosaAt44100Hz) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference(
      "librosa_44100_2048_512_128_slaney",
      {.sample_rate = 44100, .n_fft = 2048, .hop_length = 512, .win_length = 2048, .n_mels = 128, .f_max = 16000}, 1e-5,
      1e-6);
}

TEST(Mel, MatchesLibrosaWithHtkBandsOfEqualArea) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference("librosa_24000_1024_256_100_htk",
                           {.sample_rate = 24000, .n_mels = 100, .f_max = 12000, .scale = MelScale::htk}, 1e-5, 1e-6);
}

TEST(Mel, MatchesTheHifiGanDialect) {
  REQUIRE_SHARED("reference/mel");
  expect_matches_reference("hifigan_22050_1024_256_80", mel_recipe("hifigan"), 1e-5, 1e-6);
}

TEST(Mel, OfSilenceIsTheFloorEverywhere) {
  const Mel mel = MelExtractor({})({std::vector<float>(4096, 0.0f), 22050});
  ASSERT_EQ(mel.frames, 17);
  const float floor = std::log(1e-5f);
  for (const float value : mel.values) ASSERT_NEAR(value, floor, 1e-6);
}

TEST(Mel, OfAConstantIsFiniteAndOfALoudSoundTooLarge) {
  for (const float level : {1.0f, 3e4f}) {
    const Mel mel = MelExtractor({})({std::vector<float>(4096, level), 22050});
    EXPECT_TRUE(std::ranges::all_of(mel.values, [](float value) { return std::isfinite(value); })) << level;
  }
}

// Frames are computed 16 at a time; where in its group a frame lies must not show.
TEST(Mel, OfAFrameDoesNotDependOnItsPlaceInTheFile) {
  constexpr size_t kHop = 256, kShift = 5;
  const std::vector<float> sound = noise(64 * kHop);
  const std::vector<float> later(sound.begin() + kShift * kHop, sound.end());
  MelExtractor extractor({});
  const Mel whole = extractor({sound, 22050}), part = extractor({later, 22050});
  for (int m = 0; m < whole.n_mels; ++m) {
    // The first and last two frames see the padding.
    for (int frame = 2; frame < part.frames - 2; ++frame) {
      ASSERT_EQ(part.values[static_cast<size_t>(m * part.frames + frame)],
                whole.values[static_cast<size_t>(m * whole.frames + frame) + kShift]);
    }
  }
}

TEST(Mel, NeedsMoreSamplesThanThePadding) {
  MelExtractor extractor({});
  EXPECT_EQ(extractor({std::vector<float>(513, 0.1f), 22050}).frames, 3);
  EXPECT_THROW(extractor({std::vector<float>(512, 0.1f), 22050}), Error);
  EXPECT_THROW(extractor({std::vector<float>(1, 0.1f), 22050}), Error);
  EXPECT_THROW(extractor({{}, 22050}), Error);
  // Silence can pad a single sample.
  EXPECT_EQ(MelExtractor({.pad = Padding::zero})({{0.5f}, 22050}).frames, 1);
}

TEST(Mel, RefusesAnotherRateAndNamesBoth) {
  MelExtractor extractor({});
  const Waveform slow{std::vector<float>(4096), 16000};
  melflow::testing::expect_refused([&] { extractor(slow); }, Exit::bad_data, "16000", "22050");
}

TEST(Mel, IsTheSameOnEightThreadsAtOnce) {
  const Waveform sound{noise(30000), 22050};
  const Mel expected = MelExtractor({})(sound);
  std::vector<Mel> results(8);
  std::vector<std::thread> threads;
  for (Mel& result : results) {
    threads.emplace_back([&] {
      // Planning and destroying race, too.
      for (int round = 0; round < 5; ++round) result = MelExtractor({})(sound);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Mel& result : results) EXPECT_EQ(result.values, expected.values);
}

}  // namespace
}  // namespace melflow::audio
