// Crops that are changed before a training hears them.
#include "engine/data/augment.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "tests/data/corpus_fixture.h"

namespace melflow::engine {
namespace {

using namespace melflow::testing;

constexpr Augmentation kAll{.share = 0.5, .speed = 0.25, .gain_db = 6, .equaliser_db = 4};

std::vector<float> sine(double hertz, double amplitude, int64_t count) {
  std::vector<float> out;
  for (int64_t t = 0; t < count; ++t) {
    out.push_back(
        static_cast<float>(amplitude * std::sin(2 * std::numbers::pi * hertz * static_cast<double>(t) / 22050)));
  }
  return out;
}

TEST(Augment, HalfOfTheCropsAreChangedAndNoneBeyondWhatWasSaid) {
  int64_t none = 0, faster = 0, louder = 0;
  double fastest = 1, slowest = 1, loudest = 1;
  for (uint64_t index = 0; index < 4000; ++index) {
    const auto change = change_of(kAll, 7, index);
    const auto again = change_of(kAll, 7, index);
    ASSERT_TRUE(again.speed == change.speed && again.gain == change.gain && again.taps == change.taps);
    none += change.none();
    faster += change.speed > 1;
    louder += change.gain > 1;
    fastest = std::max(fastest, change.speed);
    slowest = std::min(slowest, change.speed);
    loudest = std::max(loudest, change.gain);
  }
  EXPECT_NEAR(static_cast<double>(none), 2000, 150);
  EXPECT_NEAR(static_cast<double>(faster), 1000, 110);
  EXPECT_NEAR(static_cast<double>(louder), 1000, 110);
  EXPECT_TRUE(fastest <= 1.25 && fastest > 1.24) << fastest;
  EXPECT_TRUE(slowest >= 0.8 && slowest < 0.81) << slowest;
  EXPECT_TRUE(loudest <= 1.9953 && loudest > 1.98) << loudest;
}

TEST(Augment, WithNothingToChangeByNothingIsChanged) {
  for (uint64_t index = 0; index < 100; ++index) {
    EXPECT_TRUE(change_of({.share = 1}, 7, index).none());
    EXPECT_TRUE(change_of({.share = 0, .speed = 0.2}, 7, index).none());
  }
}

TEST(Augment, AnEqualisersCurveIsAsUnevenAsItWasAskedForAndMinimumPhase) {
  constexpr int kBins = 512;
  double squares = 0;
  constexpr uint64_t kCurves = 300;
  for (uint64_t index = 0; index < kCurves; ++index) {
    const auto taps = change_of({.share = 1, .equaliser_db = 4}, 7, index).taps;
    double mean = 0;
    for (int bin = 0; bin < kBins; ++bin) {
      std::complex<double> response = 0;
      for (size_t n = 0; n < taps.size(); ++n) {
        response += taps[n] * std::polar(1.0, -2 * std::numbers::pi * bin * static_cast<double>(n) / kBins);
      }
      const double db = 20 * std::log10(std::abs(response));
      mean += db / kBins;
      squares += db * db / kBins;
    }
    // log|H| has the mean log|h_0| = 0 where no zero is outside the unit circle (Jensen), and a larger one else.
    ASSERT_NEAR(mean, 0, 1e-3) << index;
  }
  EXPECT_NEAR(std::sqrt(squares / kCurves), 4, 0.25);
}

TEST(Augment, AToneThatRunsFasterIsHigherAndAsLoudAsTheGainSays) {
  for (const double speed : {0.8, 1.0, 1.1}) {
    const CropChange change{.speed = speed, .gain = 0.5, .taps = {1, 0.5}};
    constexpr int64_t kCount = 6000;
    const auto out = changed(sine(1000, 0.4, samples_for(change, kCount)), change, 22050, kCount);
    ASSERT_EQ(std::ssize(out), kCount);
    const auto higher = sine(1000 * speed, 0.4, kCount);
    for (auto t = static_cast<size_t>(kChangeMargin); t < static_cast<size_t>(kCount - kChangeMargin); ++t) {
      ASSERT_NEAR(out[t], 0.5 * (higher[t] + 0.5 * higher[t - 1]), 1e-5) << speed << " at " << t;
    }
  }
}

TEST(Augment, NoiseIsWhiteAndAsLoudAsItWasDrawn) {
  int64_t noisy = 0;
  double loudest = 0, softest = 9;
  for (uint64_t index = 0; index < 2000; ++index) {
    const auto change = change_of({.share = 1, .noise = 0.25}, 7, index);
    if (change.none()) continue;
    ++noisy;
    loudest = std::max(loudest, change.noise);
    softest = std::min(softest, change.noise);
  }
  EXPECT_NEAR(static_cast<double>(noisy), 500, 80);
  EXPECT_TRUE(loudest <= 2 && loudest > 1.8) << loudest;
  EXPECT_TRUE(softest >= 0.0099 && softest < 0.012) << softest;

  constexpr int64_t kCount = 40000;
  const auto clean = sine(1000, 0.4, kCount);
  const auto noise_of = [&](uint64_t seed) {
    auto out = changed(clean, {.noise = 0.5, .noise_seed = seed, .taps = {}}, 22050, kCount);
    for (size_t t = 0; t < out.size(); ++t) out[t] -= clean[t];
    return out;
  };
  const auto noise = noise_of(3);
  double power = 0, neighbours = 0;
  for (size_t t = 1; t < noise.size(); ++t) {
    power += noise[t] * noise[t];
    neighbours += noise[t] * noise[t - 1];
  }
  EXPECT_NEAR(std::sqrt(power / kCount), 0.5 * 0.4 / std::sqrt(2), 0.003);
  EXPECT_LT(std::abs(neighbours), 0.02 * power);
  EXPECT_EQ(noise_of(3), noise);
  EXPECT_NE(noise_of(4), noise);
}

/// A speed so near 1 that whole rates are the same asks for fewer samples than a long crop has.
TEST(Augment, ALongCropAtNearlyItsSpeedIsNothingBeyondItsSound) {
  constexpr int64_t kCount = 200000;
  const CropChange change{.speed = 1 - 0.49 / 22050, .gain = 1, .taps = {}};
  ASSERT_LT(samples_for(change, kCount), kCount);
  const auto sound = sine(1000, 0.4, samples_for(change, kCount));
  const auto out = changed(sound, change, 22050, kCount);
  ASSERT_EQ(std::ssize(out), kCount);
  EXPECT_TRUE(std::equal(sound.begin(), sound.end(), out.begin()));
}

using AugmentedCropsTest = CorpusTest;

/// Every sample and every frame of a crop, warm-up and look-ahead too, is what it is in the whole recording, changed.
TEST_F(AugmentedCropsTest, ACropIsAPieceOfTheChangedRecording) {
  const auto corpus = open({data() / "clip5.wav"}, {.hold_out_every = 0});
  const auto& o = corpus->options();
  const auto sound = corpus->sound(*corpus->slot(0));
  const auto size = static_cast<int64_t>(sound->samples.size());
  constexpr Augmentation kSpeedAndCurve{.share = 1, .speed = 0.25, .gain_db = 6, .equaliser_db = 4};
  constexpr int64_t kWarmup = 2, kLookahead = 3, kHop = 256, kBefore = 8 * kHop;
  CropFeed feed(corpus, {.batch_size = 1,
                         .warmup_frames = kWarmup,
                         .lookahead_frames = kLookahead,
                         .dequantise = 0,
                         .augmentation = kSpeedAndCurve,
                         .workers = 0});
  audio::MelExtractor extract(o.mel);
  for (int64_t index = 0; index < 12; ++index) {
    const auto change = change_of(kSpeedAndCurve, o.seed, static_cast<uint64_t>(index));
    const auto crop = feed.take(index);
    // The recording with silence around it, changed from a place that the crop's beginning is whole frames behind, to
    // a sample of the recording.
    const double lasts = static_cast<double>(o.segment_frames * kHop) * change.speed;
    const auto start = static_cast<int64_t>(uniform_at(o.seed, kCropStream, static_cast<uint64_t>(index)) *
                                            static_cast<double>(size - std::llround(lasts) + 1));
    const auto from = start - std::llround(static_cast<double>(kBefore + kWarmup * kHop) * change.speed);
    const auto count = static_cast<int64_t>(static_cast<double>(2 * size) / change.speed) / kHop * kHop;
    const auto whole = changed(corpus->at_level(*sound, from, samples_for(change, count)), change, 22050, count);
    const auto mel = extract({whole, 22050});
    double error = 0, power = 0;
    for (int64_t t = 0; t < crop.samples; ++t) {
      const double there = whole[static_cast<size_t>(kBefore + t)];
      error += std::pow(crop.x[static_cast<size_t>(t)] - there, 2);
      power += there * there;
    }
    ASSERT_LT(error, 0.05 * power) << index;  // of less than a sample; a frame more or less would leave twice the power
    for (int64_t m = 0; m < o.mel.n_mels; ++m) {
      for (int64_t f = 0; f < crop.frames; ++f) {
        // Quiet bands are edges' ringing alone.
        const auto told = crop.mel[static_cast<size_t>(m * crop.frames + f)];
        const auto expected = mel.values[static_cast<size_t>(m * mel.frames + kBefore / kHop + f)];
        if (expected <= -4) continue;
        ASSERT_NEAR(told, expected, 0.05) << index << " " << m << " " << f;
      }
    }
  }
}

TEST_F(AugmentedCropsTest, TheMelIsThatOfWhatACropHasBecome) {
  const auto corpus = open({data()}, {.hold_out_every = 0});
  const auto& recipe = corpus->options().mel;
  CropFeed feed(corpus, {.batch_size = 4,
                         .warmup_frames = 2,
                         .lookahead_frames = 3,
                         .dequantise = 0,
                         .augmentation = kAll,
                         .workers = 0});
  audio::MelExtractor extract(recipe);
  int64_t compared = 0;
  for (int64_t batch = 0; batch < 8; ++batch) {
    const auto crops = feed.take(batch);
    for (int64_t i = 0; i < crops.count; ++i) {
      const auto change = change_of(kAll, corpus->options().seed, static_cast<uint64_t>(batch * 4 + i));
      if (change.none()) continue;
      const auto x = crops.x.begin() + i * crops.samples;
      const auto whole = extract({{x, x + crops.samples}, recipe.sample_rate});
      for (int64_t m = 0; m < recipe.n_mels; ++m) {
        for (int64_t f = 2; f < crops.samples / recipe.hop_length - 2; ++f) {  // whose windows see nothing but x
          const auto told = crops.mel[static_cast<size_t>((i * recipe.n_mels + m) * crops.frames + f)];
          ASSERT_NEAR(told, whole.values[static_cast<size_t>(m * whole.frames + f)], 1e-4) << batch << " " << i;
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 0);
}

TEST_F(AugmentedCropsTest, OthersStayAsTheyAre) {
  const auto corpus = open({data()}, {.hold_out_every = 0});
  CropFeed plain(corpus, {.batch_size = 4, .workers = 0}),
      varied(corpus, {.batch_size = 4, .augmentation = kAll, .workers = 0});
  int64_t kept = 0;
  for (int64_t batch = 0; batch < 8; ++batch) {
    const auto a = plain.take(batch), b = varied.take(batch);
    for (int64_t i = 0; i < a.count; ++i) {
      const bool same =
          std::equal(a.x.begin() + i * a.samples, a.x.begin() + (i + 1) * a.samples, b.x.begin() + i * a.samples);
      const bool none = change_of(kAll, corpus->options().seed, static_cast<uint64_t>(batch * 4 + i)).none();
      EXPECT_EQ(same, none) << batch << " " << i;
      kept += none;
    }
  }
  EXPECT_TRUE(kept > 4 && kept < 28) << kept;
}

TEST_F(AugmentedCropsTest, ABatchIsAFunctionOfItsNumberWhateverTheWorkers) {
  const auto corpus = open({data()}, {.hold_out_every = 0});
  const auto straight = heard(corpus, 0, 0, 20, kAll), later = heard(corpus, 3, 15, 5, kAll);
  EXPECT_TRUE(std::equal(later.begin(), later.end(), straight.end() - std::ssize(later)));
}

TEST_F(AugmentedCropsTest, ARecordingThatRunsOutWhenItIsFasterEndsInSilence) {
  audio::Waveform sound = tone(1);
  sound.samples.resize(9 * 256);  // one frame more than a crop, and less than one at 1.5 times its speed
  write(other("one.wav"), sound);
  const auto corpus = open({other("one.wav")}, {.hold_out_every = 0});
  CropFeed feed(corpus, {.batch_size = 8, .dequantise = 0, .augmentation = {.share = 1, .speed = 0.9}, .workers = 0});
  const auto crops = feed.take(0);
  for (int64_t i = 0; i < crops.count; ++i) {
    const double speed = change_of({.share = 1, .speed = 0.9}, corpus->options().seed, static_cast<uint64_t>(i)).speed;
    if (speed < 1.3) continue;
    const auto heard = static_cast<int64_t>(9 * 256 / speed);
    const auto x = crops.x.begin() + i * crops.samples;
    EXPECT_LT(std::abs(*std::max_element(x + heard + 200, x + crops.samples)), 1e-3) << speed;
    EXPECT_GT(*std::max_element(x, x + heard), 0.05);
  }
}

}  // namespace
}  // namespace melflow::engine
