// A mel recipe as text and as numbers: what is read back, compared and refused.
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "audio/mel.h"
#include "base/error.h"
#include "tests/support/refusal.h"

namespace melflow::audio {
namespace {

using melflow::testing::expect_refused;

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
  expect_refused([&] { set_mel_option(options, "hop_lenght", "256"); }, Exit::config, "hop_length");
  expect_refused([] { mel_recipe("wavglow"); }, Exit::config, "waveglow");
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
    expect_refused([&] { options.validate(); }, Exit::config, field + " is");
  }
}

}  // namespace
}  // namespace melflow::audio
