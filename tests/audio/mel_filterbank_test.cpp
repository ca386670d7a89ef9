// The weights that turn magnitudes into mel bands, against librosa's, MATLAB's and Whisper's.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "audio/mel.h"
#include "tests/audio/reference_files.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::npy_values;
using melflow::testing::shared;

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

}  // namespace
}  // namespace melflow::audio
