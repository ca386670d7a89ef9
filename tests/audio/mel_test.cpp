#include "audio/mel.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "audio/wav.h"
#include "base/error.h"
#include "tests/audio/reference_files.h"
#include "tests/audio/signals.h"
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

std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
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
  const std::string message = message_of([&] { extractor({std::vector<float>(4096), 16000}); });
  EXPECT_NE(message.find("16000"), std::string::npos) << message;
  EXPECT_NE(message.find("22050"), std::string::npos) << message;
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

TEST(MelFilterbank, MatchesMatlabsFilesOfLibrosa) {
  REQUIRE_SHARED("data/refs/librosa_test_data");
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared("data/refs/librosa_test_data"))) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("feature-melfb")) continue;
    auto arrays = melflow::testing::read_mat(entry.path());
    const auto value = [&](const char* key) { return arrays.at(key).values.at(0); };
    MelOptions options;
    options.sample_rate = static_cast<int>(value("sr"));
    options.n_fft = options.win_length = static_cast<int>(value("nfft"));
    options.hop_length = 1;
    options.n_mels = static_cast<int>(value("nfilts"));
    options.f_min = value("fmin");
    options.f_max = value("fmax");
    options.scale = value("htk") != 0.0 ? MelScale::htk : MelScale::slaney;
    options.norm = name.starts_with("feature-melfbnorm") ? MelNorm::none : MelNorm::slaney;
    const std::vector<double> bank = mel_filterbank(options);
    const auto& expected = arrays.at("wts");
    ASSERT_EQ(expected.shape, (std::vector<int>{options.n_mels, options.n_fft})) << name;
    const int bins = options.n_fft / 2 + 1;
    double largest = 0.0, heaviest = 0.0;
    for (int m = 0; m < options.n_mels; ++m) {
      for (int k = 0; k < bins; ++k) {
        const double wanted = expected.values.at(static_cast<size_t>(k * options.n_mels + m));
        heaviest = std::max(heaviest, wanted);
        largest = std::max(largest, std::abs(bank[static_cast<size_t>(m * bins + k)] - wanted));
      }
    }
    EXPECT_LE(largest, 1e-12 * heaviest) << name;
    EXPECT_GT(heaviest, 0.0) << name;
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

TEST(MelFilterbank, MatchesWhispers) {
  REQUIRE_SHARED("data/refs/whisper_mel_filters_mit");
  const auto members =
      melflow::testing::read_zip(shared("data/refs/whisper_mel_filters_mit/whisper/assets/mel_filters.npz"));
  for (const int n_mels : {80, 128}) {
    const auto expected = npy_values(members.at("mel_" + std::to_string(n_mels) + ".npy"));
    const auto bank =
        mel_filterbank({.sample_rate = 16000, .n_fft = 400, .hop_length = 160, .win_length = 400, .n_mels = n_mels});
    ASSERT_EQ(bank.size(), expected.size());
    for (size_t i = 0; i < bank.size(); ++i) ASSERT_NEAR(bank[i], expected[i], 1e-8 + 1e-6 * std::abs(expected[i]));
  }
}

TEST(MelFilterbank, HearsFromTheLowestFrequencyToTheHighest) {
  for (const auto& [lowest, highest] : {std::pair{0.0, 8000.0}, {300.0, 1500.0}, {1500.0, 3000.0}}) {
    for (const auto scale : {MelScale::slaney, MelScale::htk}) {
      const MelOptions recipe{.n_mels = 10, .f_min = lowest, .f_max = highest, .scale = scale};
      const auto weights = mel_filterbank(recipe);
      const double hz_a_bin = static_cast<double>(recipe.sample_rate) / recipe.n_fft;
      std::vector<double> heard;
      for (size_t bin = 0; bin <= 512; ++bin) {
        for (size_t m = 0; m < 10; ++m) {
          if (weights[m * 513 + bin] > 0) heard.push_back(static_cast<double>(bin) * hz_a_bin);
        }
      }
      ASSERT_FALSE(heard.empty());
      EXPECT_NEAR(heard.front(), lowest, hz_a_bin);
      EXPECT_NEAR(heard.back(), highest, hz_a_bin);
    }
  }
}

TEST(MelOptions, AreReadBackExactlyFromTheirText) {
  const MelOptions odd{.sample_rate = 44100,
                       .n_fft = 2048,
                       .hop_length = 300,
                       .win_length = 1200,
                       .n_mels = 7,
                       .f_min = 0.1,
                       .f_max = 1.0 / 3.0 * 20000.0,
                       .scale = MelScale::htk,
                       .norm = MelNorm::none,
                       .pad = Padding::zero,
                       .centre = false,
                       .magnitude_epsilon = 1e-9,
                       .log_floor = 1.2345678901234567e-7};
  MelOptions copy;
  const auto text = mel_options_as_text(odd);
  EXPECT_EQ(text.size(), 13u);
  for (const auto& [key, value] : text) set_mel_option(copy, key, value);
  EXPECT_EQ(copy, odd);
}

TEST(MelOptions, RefuseWhatIsNoNumberAndNameTheNearestSetting) {
  MelOptions options;
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"n_mels", ""},
                                                                                   {"n_mels", "80x"},
                                                                                   {"n_mels", "8e1"},
                                                                                   {"n_mels", " 80"},
                                                                                   {"n_mels", "99999999999"},
                                                                                   {"f_max", "nan"},
                                                                                   {"f_max", "inf"},
                                                                                   {"f_max", "8000Hz"},
                                                                                   {"scale", "Slaney"},
                                                                                   {"norm", "1"},
                                                                                   {"centre", "yes"}}) {
    EXPECT_THROW(set_mel_option(options, key, value), Error) << key << "=" << value;
  }
  EXPECT_EQ(options, MelOptions{});
  const std::string message = message_of([&] { set_mel_option(options, "hop_lenght", "256"); });
  EXPECT_NE(message.find("hop_length"), std::string::npos) << message;
  EXPECT_NE(message_of([] { mel_recipe("wavglow"); }).find("waveglow"), std::string::npos);
}

TEST(MelOptions, NameTheFirstFieldThatDiffers) {
  EXPECT_EQ(first_difference({}, {}), "");
  EXPECT_EQ(first_difference({.hop_length = 256}, {.hop_length = 300, .n_mels = 100}), "hop_length is 256, not 300");
  EXPECT_EQ(first_difference({}, mel_recipe("hifigan")), "centre is true, not false");
}

TEST(MelOptions, NoFieldMayDifferUnseen) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"sample_rate", "24000"},
                                                                                   {"n_fft", "2048"},
                                                                                   {"hop_length", "300"},
                                                                                   {"win_length", "800"},
                                                                                   {"n_mels", "100"},
                                                                                   {"f_min", "40"},
                                                                                   {"f_max", "7600"},
                                                                                   {"scale", "htk"},
                                                                                   {"norm", "none"},
                                                                                   {"pad", "zero"},
                                                                                   {"centre", "false"},
                                                                                   {"magnitude_epsilon", "0.01"},
                                                                                   {"log_floor", "0.001"}}) {
    MelOptions other;
    set_mel_option(other, key, value);
    EXPECT_TRUE(first_difference(other, {}).starts_with(key + " is " + value)) << first_difference(other, {});
  }
}

TEST(MelOptions, ThatMakeNoSenseAreRefusedByName) {
  const std::vector<std::pair<std::string, MelOptions>> wrong = {{"sample_rate", {.sample_rate = 0}},
                                                                 {"n_fft", {.n_fft = 1023}},
                                                                 {"n_fft", {.n_fft = 1 << 20}},
                                                                 {"hop_length", {.hop_length = 0}},
                                                                 {"hop_length", {.hop_length = 2000}},
                                                                 {"win_length", {.win_length = 2048}},
                                                                 {"n_mels", {.n_mels = 0}},
                                                                 {"f_min", {.f_min = -1.0}},
                                                                 {"f_min", {.f_min = 9000.0}},
                                                                 {"f_max", {.f_max = 12000.0}},
                                                                 {"f_max", {.f_max = NAN}},
                                                                 {"magnitude_epsilon", {.magnitude_epsilon = -1.0}},
                                                                 {"log_floor", {.log_floor = 0.0}}};
  for (const auto& [field, options] : wrong) {
    const std::string message = message_of([&] { options.validate(); });
    EXPECT_NE(message.find(field + " is"), std::string::npos) << field << ": " << message;
  }
}

}  // namespace
}  // namespace melflow::audio
