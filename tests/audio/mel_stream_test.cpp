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
