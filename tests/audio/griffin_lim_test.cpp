#include "audio/griffin_lim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "audio/quality.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::in_tree;

Waveform golden_clip() { return read_audio(in_tree("data/golden/LJ001-0002.wav")); }

TEST(GriffinLim, MagnitudesHaveTheMelsTheyCameFrom) {
  const MelOptions recipe;
  const Mel mel = MelExtractor(recipe)(golden_clip());
  const auto magnitudes = mel_to_magnitude(mel, recipe);
  const auto bank = mel_filterbank(recipe);
  constexpr size_t kBins = 513;
  double sum = 0.0;
  for (size_t frame = 0; frame < static_cast<size_t>(mel.frames); ++frame) {
    for (size_t m = 0; m < 80; ++m) {
      double value = 0.0;
      for (size_t k = 0; k < kBins; ++k) value += bank[m * kBins + k] * magnitudes[frame * kBins + k];
      sum += std::abs(std::log(std::max(value, 1e-5)) - mel.values[m * static_cast<size_t>(mel.frames) + frame]);
    }
  }
  EXPECT_LT(sum / static_cast<double>(mel.values.size()), 0.05);
  EXPECT_TRUE(std::ranges::all_of(magnitudes, [](float value) { return value >= 0.0f && std::isfinite(value); }));
}

// librosa's own with a pseudo-inverse reaches mel_l1 0.13 and spectral convergence 0.32 on LJ Speech (60 iterations).
TEST(GriffinLim, SoundsLikeTheRecordingItsMelCameFrom) {
  const Waveform speech = golden_clip();
  for (const MelOptions& recipe : {MelOptions{}, mel_recipe("hifigan")}) {
    const Mel mel = MelExtractor(recipe)(speech);
    const Waveform sound = griffin_lim(mel, recipe);
    EXPECT_EQ(sound.samples.size(), static_cast<size_t>(mel.frames) * 256);
    EXPECT_EQ(sound.sample_rate, 22050);
    const Quality quality = compare(speech, sound, recipe);
    EXPECT_LT(quality.mel_l1, 0.13);
    EXPECT_LT(quality.spectral_convergence, 0.25);
    EXPECT_GT(quality.voicing_f1, 0.92);
  }
}

TEST(GriffinLim, SpeaksMelsOfAnOddHop) {
  for (const bool centre : {false, true}) {
    MelOptions recipe;
    recipe.n_fft = recipe.win_length = 64;
    recipe.hop_length = 15;
    recipe.n_mels = 10;
    recipe.centre = centre;
    const Waveform speech = golden_clip();
    const Mel mel = MelExtractor(recipe)({{speech.samples.begin(), speech.samples.begin() + 3000}, 22050});
    EXPECT_EQ(griffin_lim(mel, recipe, {.iterations = 3}).samples.size(), static_cast<size_t>(mel.frames) * 15);
  }
}

TEST(GriffinLim, IsTheSameForTheSameSeed) {
  const MelOptions recipe;
  const Mel mel = MelExtractor(recipe)(golden_clip());
  const GriffinLimOptions three{.iterations = 3, .seed = 7};
  EXPECT_EQ(griffin_lim(mel, recipe, three).samples, griffin_lim(mel, recipe, three).samples);
  EXPECT_NE(griffin_lim(mel, recipe, three).samples, griffin_lim(mel, recipe, {.iterations = 3, .seed = 8}).samples);
}

TEST(GriffinLim, TakesASingleFrameAndTheFloor) {
  const MelOptions recipe;
  const Mel silence{80, 1, std::vector<float>(80, std::log(1e-5f)), recipe};
  const Waveform sound = griffin_lim(silence, recipe);
  EXPECT_EQ(sound.samples.size(), 256u);
  for (const float sample : sound.samples) ASSERT_NEAR(sample, 0.0f, 1e-2f);
}

TEST(GriffinLim, IsFiniteHoweverLoudTheMel) {
  const MelOptions recipe;
  const Waveform sound = griffin_lim({80, 4, std::vector<float>(320, 200.0f), recipe}, recipe, {.iterations = 3});
  for (const float sample : sound.samples) ASSERT_TRUE(std::isfinite(sample));
}

TEST(GriffinLim, ComesNearerByItsMomentum) {
  const MelOptions recipe;
  const Mel mel = MelExtractor(recipe)(golden_clip());
  const auto distance = [&](double momentum) {
    const Mel reached = MelExtractor(recipe)(griffin_lim(mel, recipe, {.iterations = 20, .momentum = momentum}));
    double sum = 0;
    for (int m = 0; m < mel.n_mels; ++m) {
      for (int t = 0; t < mel.frames; ++t) {
        sum += std::abs(mel.values[static_cast<size_t>(m * mel.frames + t)] -
                        reached.values[static_cast<size_t>(m * reached.frames + t)]);
      }
    }
    return sum / static_cast<double>(mel.values.size());
  };
  EXPECT_LT(distance(0.99), 0.9 * distance(0));
}

TEST(GriffinLim, RefusesOtherBandsAndBrokenValues) {
  const MelOptions recipe;
  EXPECT_THROW(griffin_lim({40, 1, std::vector<float>(40), {}}, recipe), Error);
  EXPECT_THROW(griffin_lim({80, 0, {}, {}}, recipe), Error);
  EXPECT_THROW(griffin_lim({80, 1, std::vector<float>(80, NAN), {}}, recipe), Error);
}

}  // namespace
}  // namespace melflow::audio
