#include "audio/refine.h"

#include <cmath>
#include <functional>
#include <random>

#include <gtest/gtest.h>

#include "audio/refiner.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

struct Spoken {
  MelOptions recipe;
  Mel mel;
  std::vector<float> samples;  ///< that the mel is not of
};

Mel first_frames(const Mel& mel, int frames) {
  Mel out{mel.n_mels, frames, {}, {}};
  for (int m = 0; m < mel.n_mels; ++m) {
    const auto row = mel.values.begin() + static_cast<ptrdiff_t>(m) * mel.frames;
    out.values.insert(out.values.end(), row, row + frames);
  }
  return out;
}

/// Tones and noise that come and go, and another sound of the same length, which has another mel.
Spoken spoken(int frames, MelOptions recipe = {}, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Spoken out{recipe, {}, {}};
  Waveform truth{{}, recipe.sample_rate};
  for (int t = 0; t < frames * recipe.hop_length; ++t) {
    const double seconds = static_cast<double>(t) / recipe.sample_rate;
    const double loud = 0.1 + 0.1 * std::sin(9 * seconds);
    double tone = 0;
    for (int h = 1; h < 20; ++h) tone += std::sin(2 * 3.14159265 * 140 * h * seconds) / h;
    truth.samples.push_back(static_cast<float>(loud * tone) + 0.01f * normal(random));
    out.samples.push_back(static_cast<float>(0.05 * tone) + 0.05f * normal(random));
  }
  out.mel = MelExtractor(recipe)(truth);
  // Of the frames hop_length samples each belong to one, as in what a voice speaks.
  out.mel = first_frames(out.mel, frames);
  return out;
}

/// Mean of |ln mel - ln mel wanted|.
double misfit(const Spoken& s, const std::vector<float>& samples) {
  const auto mel = MelExtractor(s.recipe)(Waveform{samples, s.recipe.sample_rate});
  double sum = 0;
  for (int m = 0; m < s.mel.n_mels; ++m) {
    for (int t = 0; t < s.mel.frames; ++t) {
      sum += std::abs(mel.values[static_cast<size_t>(m * mel.frames + t)] -
                      s.mel.values[static_cast<size_t>(m * s.mel.frames + t)]);
    }
  }
  return sum / static_cast<double>(s.mel.values.size());
}

/// Frames and samples as they might arrive: `ahead` frames before their samples, in pieces that next() tells.
std::vector<float> in_pieces(const Spoken& s, const RefineOptions& options, int ahead,
                             const std::function<int()>& next) {
  Refiner refiner(s.recipe, options);
  std::vector<float> out, frames;
  append_frames(s.mel, 0, s.mel.frames, frames);
  const auto bands = static_cast<size_t>(s.mel.n_mels), hop = static_cast<size_t>(s.recipe.hop_length);
  size_t given = 0, said = 0;
  while (said < s.samples.size()) {
    const size_t more = std::min(frames.size() / bands - given, static_cast<size_t>(next()));
    const auto piece = std::span(frames).subspan(given * bands, more * bands);
    given += more;
    const size_t until = given == frames.size() / bands
                             ? s.samples.size()
                             : std::max<size_t>(said, hop * (given - std::min(given, static_cast<size_t>(ahead))));
    refiner.push(piece, std::span(s.samples).subspan(said, until - said), out);
    said = until;
  }
  refiner.finish(out);
  return out;
}

MelOptions padded_with_silence() {
  MelOptions recipe;
  recipe.pad = Padding::zero;
  recipe.magnitude_epsilon = 1e-6;
  return recipe;
}
MelOptions another_hop() {
  MelOptions recipe;
  recipe.n_fft = 2048;
  recipe.win_length = 1200;
  recipe.hop_length = 512;
  recipe.n_mels = 40;
  return recipe;
}

struct NamedRecipe {
  std::string name;
  MelOptions recipe;
};

class Refining : public ::testing::TestWithParam<NamedRecipe> {};

TEST_P(Refining, BringsASoundToItsMel) {
  const auto s = spoken(60, GetParam().recipe);
  double last = misfit(s, s.samples);
  for (const int passes : {1, 4, 16}) {
    const auto refined = refine(s.samples, s.mel, s.recipe, {.passes = passes});
    ASSERT_EQ(refined.size(), s.samples.size());
    const double now = misfit(s, refined);
    EXPECT_LT(now, 0.8 * last) << passes;
    last = now;
  }
  EXPECT_LT(last, 0.2 * misfit(s, s.samples));
  EXPECT_EQ(refine(s.samples, s.mel, s.recipe, {.passes = 0}), s.samples);
}

TEST_P(Refining, InLanesIsThePlainOne) {
  for (const int frames : {1, 2, 3, 4, 5, 7, 12, 40}) {
    const auto s = spoken(std::max(frames, 4), GetParam().recipe);
    auto cut = s;
    cut.samples.resize(static_cast<size_t>(frames * s.recipe.hop_length));
    cut.mel = first_frames(s.mel, frames);
    for (const int delay : {RefineOptions::least_delay(s.recipe), 7, 12, 15}) {
      const RefineOptions options{.passes = 3, .delay = delay};
      const auto plain = refine(cut.samples, cut.mel, cut.recipe, options);
      const auto fast = in_pieces(cut, options, 1, [] { return 1000; });
      ASSERT_EQ(fast.size(), plain.size());
      float error = 0, largest = 0;
      for (size_t i = 0; i < plain.size(); ++i) {
        error = std::max(error, std::abs(fast[i] - plain[i]));
        largest = std::max(largest, std::abs(plain[i]));
      }
      EXPECT_LT(error, 2e-5f * largest) << frames << " frames, delay " << delay;
    }
  }
}

TEST_P(Refining, IsTheSameInAnyPieces) {
  const auto s = spoken(50, GetParam().recipe);
  const auto whole = in_pieces(s, {}, 0, [] { return 1000; });
  std::mt19937 random(3);
  for (int trial = 0; trial < 20; ++trial) {
    const int most = 1 << trial % 6;
    const auto next = [&] { return std::uniform_int_distribution(1, most)(random); };
    EXPECT_EQ(in_pieces(s, {}, trial % 5, next), whole) << trial;
  }
}

INSTANTIATE_TEST_SUITE_P(Recipes, Refining,
                         ::testing::Values(NamedRecipe{"waveglow", {}}, NamedRecipe{"hifigan", mel_recipe("hifigan")},
                                           NamedRecipe{"silence_around", padded_with_silence()},
                                           NamedRecipe{"another_hop", another_hop()}),
                         [](const auto& of) { return of.param.name; });

TEST(Refiner, GivesSamplesOutAsLateAsItSays) {
  const auto s = spoken(40);
  for (const int delay : {3, 7, 15}) {
    Refiner refiner(s.recipe, {.passes = 1, .delay = delay});
    std::vector<float> frames, out;
    append_frames(s.mel, 0, s.mel.frames, frames);
    for (int64_t t = 0; t < 40; ++t) {
      refiner.push(std::span(frames).subspan(static_cast<size_t>(80 * t), 80),
                   std::span(s.samples).subspan(static_cast<size_t>(256 * t), 256), out);
      EXPECT_EQ(static_cast<int64_t>(out.size()), 256 * std::max<int64_t>(0, t + 1 - delay)) << delay;
    }
  }
}

TEST(Refiner, LeavesWhatNoBandHears) {
  auto s = spoken(30);
  for (size_t t = 0; t < s.samples.size(); ++t)
    s.samples[t] = static_cast<float>(0.1 * std::sin(2.7 * static_cast<double>(t)));  // 9.5 kHz
  const auto refined = in_pieces(s, {}, 0, [] { return 1000; });
  double kept = 0, all = 0;
  for (size_t t = 2048; t + 2048 < refined.size(); ++t) {
    kept += refined[t] * std::sin(2.7 * static_cast<double>(t));
    all += std::pow(std::sin(2.7 * static_cast<double>(t)), 2);
  }
  EXPECT_NEAR(kept / all, 0.1, 0.001);
}

/// A voice that runs away where no band hears it.
TEST(Refiner, KeepsTheTrebleFromBeingAbsurd) {
  auto s = spoken(60);
  const auto tone = [](size_t t) { return std::sin(2.7 * static_cast<double>(t)); };  // 9.5 kHz
  for (size_t t = 0; t < s.samples.size(); ++t) s.samples[t] += static_cast<float>(30 * tone(t));
  const auto refined = in_pieces(s, {}, 0, [] { return 1000; });
  double left = 0, all = 0;
  for (size_t t = 2048; t + 2048 < refined.size(); ++t) {
    left += refined[t] * tone(t);
    all += tone(t) * tone(t);
  }
  EXPECT_LT(std::abs(left / all), 3);
  EXPECT_LT(misfit(s, refined), 0.3);
}

TEST(Refiner, WildMelsMakeNoInfinities) {
  auto s = spoken(30);
  for (size_t i = 0; i < s.mel.values.size(); ++i) s.mel.values[i] = i % 3 == 0 ? 1e30f : i % 3 == 1 ? -1e30f : 20.0f;
  for (const float x : in_pieces(s, {}, 0, [] { return 4; })) ASSERT_TRUE(std::isfinite(x));
  std::fill(s.samples.begin(), s.samples.end(), 0.0f);
  for (const float x : in_pieces(s, {}, 0, [] { return 4; })) ASSERT_EQ(x, 0.0f);  // silence has no spectrum to correct
}

TEST(Refiner, RefusesWhatItCannotDo) {
  MelOptions recipe;
  EXPECT_THROW(Refiner(recipe, {.delay = 2}), Error);
  EXPECT_THROW(Refiner(recipe, {.delay = 16}), Error);
  recipe.hop_length = 300;
  EXPECT_THROW(Refiner(recipe, {}), Error);
  recipe.hop_length = 200;
  recipe.n_fft = recipe.win_length = 1000;
  EXPECT_THROW(Refiner(recipe, {}), Error);
  const auto s = spoken(8);
  EXPECT_NO_THROW(refine(s.samples, s.mel, s.recipe));
  EXPECT_THROW(refine(std::span(s.samples).first(100), s.mel, s.recipe), Error);
}

}  // namespace
}  // namespace melflow::audio
