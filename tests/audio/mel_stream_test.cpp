#include "audio/mel_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

/// The whole mel as frames, one after the other.
std::vector<float> offline(const std::vector<float>& sound, const MelOptions& recipe) {
  const Mel mel = MelExtractor(recipe)({sound, recipe.sample_rate});
  std::vector<float> frames;
  for (int t = 0; t < mel.frames; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) {
      frames.push_back(mel.values[static_cast<size_t>(m) * static_cast<size_t>(mel.frames) + static_cast<size_t>(t)]);
    }
  }
  return frames;
}

std::vector<float> streamed(const std::vector<float>& sound, const MelOptions& recipe,
                            const std::vector<size_t>& cuts) {
  MelStream stream(recipe);
  std::vector<float> frames;
  size_t at = 0;
  for (size_t i = 0; at < sound.size(); ++i) {
    const size_t count = std::min(cuts[i % cuts.size()], sound.size() - at);
    stream.add(std::span(sound).subspan(at, count), frames);
    at += count;
  }
  stream.finish(frames);
  return frames;
}

class MelStreamEqualsMelExtractor : public ::testing::TestWithParam<const char*> {};

TEST_P(MelStreamEqualsMelExtractor, BitForBitHoweverItIsCut) {
  MelOptions recipe;
  if (std::string(GetParam()) == "hifigan") recipe = mel_recipe("hifigan");
  if (std::string(GetParam()) == "short window, no padding by mirror") {
    recipe.win_length = 800;
    recipe.pad = Padding::zero;
  }
  std::mt19937 random(3);
  for (const size_t length : {513u, 514u, 1000u, 1024u, 5000u, 30011u}) {
    const auto sound = melflow::testing::noise(length);
    const auto expected = offline(sound, recipe);
    for (int trial = 0; trial < 6; ++trial) {
      std::vector<size_t> cuts(17);
      for (auto& cut : cuts) cut = std::uniform_int_distribution<size_t>(0, trial == 0 ? 4000 : 700)(random);
      if (trial == 1) cuts = {1};
      if (trial == 2) cuts = {length};
      cuts.push_back(1);
      EXPECT_EQ(streamed(sound, recipe, cuts), expected) << length << " samples, trial " << trial;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recipes, MelStreamEqualsMelExtractor,
                         ::testing::Values("waveglow", "hifigan", "short window, no padding by mirror"),
                         [](const auto& of) { return "Recipe" + std::to_string(of.index); });

TEST(MelStream, EqualsMelExtractorForOddRecipes) {
  std::mt19937 random(5);
  const auto draw = [&](int from, int to) { return std::uniform_int_distribution(from, to)(random); };
  for (int trial = 0; trial < 400; ++trial) {
    MelOptions recipe;
    recipe.n_fft = 2 * draw(8, 40);
    recipe.win_length = draw(1, recipe.n_fft);
    recipe.hop_length = trial % 3 == 0 ? recipe.win_length : draw(1, recipe.n_fft);  // longer than the window, and odd
    recipe.n_mels = 3;
    recipe.centre = trial % 4 == 0;
    recipe.pad = trial % 2 == 0 ? Padding::zero : Padding::reflect;
    const auto shortest = static_cast<size_t>(recipe.stft().shortest());
    const auto sound = melflow::testing::noise(shortest + static_cast<size_t>(draw(0, 300)));
    const std::vector<size_t> cuts = trial % 5 == 0 ? std::vector<size_t>{1} : std::vector<size_t>{3, 70, 11};
    ASSERT_EQ(streamed(sound, recipe, cuts), offline(sound, recipe))
        << "n_fft " << recipe.n_fft << ", window " << recipe.win_length << ", hop " << recipe.hop_length << ", centre "
        << recipe.centre << ", " << sound.size() << " samples";
    MelExtractor whole(recipe);
    EXPECT_THROW(whole({melflow::testing::noise(shortest - 1), recipe.sample_rate}), Error);
  }
}

TEST(MelStream, GivesAFrameWithItsLastSample) {
  const MelOptions recipe;
  MelStream stream(recipe);
  const auto sound = melflow::testing::noise(4096);
  std::vector<float> frames;
  for (size_t t = 0; t < sound.size(); ++t) {
    stream.add(std::span(sound).subspan(t, 1), frames);
    // Frame f ends 512 samples behind its centre 256·f; the first ones wait for the mirror, of 513 samples.
    const size_t taken = t + 1, expected = taken < 513 ? 0 : (taken - 512) / 256 + 1;
    ASSERT_EQ(frames.size() / 80, expected) << "after " << taken;
  }
}

TEST(MelStream, RefusesWhatIsTooShortForAMel) {
  MelStream stream(MelOptions{});
  std::vector<float> frames;
  stream.add(std::vector<float>(512, 0.1f), frames);
  EXPECT_THROW(stream.finish(frames), Error);
  EXPECT_TRUE(frames.empty());
}

}  // namespace
}  // namespace melflow::audio
