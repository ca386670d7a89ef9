// Every published layout of one model, opened as a voice, against the audio that NVIDIA's code computed.

#include "base/error.h"
#include "engine/files/mel_file.h"
#include "engine/model_voice.h"
#include "models/waveglow.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

using melflow::testing::json_of;
using melflow::testing::npy;
using melflow::testing::relative_error;
using melflow::testing::shared;

struct Published {
  const char* file;
  double tolerance;
};

class PublishedVoice : public ::testing::TestWithParam<Published> {};

std::filesystem::path tiny() { return shared("reference/waveglow/tiny"); }
double sigma() { return json_of(tiny() / "config.json")["sigma"]; }

/// The stored noise, before sigma: [group, groups].
torch::Tensor noise_of(const std::filesystem::path& folder) {
  const auto row = [&](const char* name) {
    const auto z = npy(folder / name);
    return z.view({-1, z.size(-1)});
  };
  return torch::cat({row("z_2.npy"), row("z_1.npy"), row("z_0.npy")});
}

/// Largest error of the audio over its peak, from the stored mel and noise: the model's.
double error_of(const ModelVoice& voice, const std::filesystem::path& folder) {
  torch::NoGradGuard no_grad;
  const auto z = noise_of(folder).unsqueeze(0) * sigma();
  const auto x = voice.model->inverse(z, npy(tiny() / "mel.npy").unsqueeze(0)).value[0];
  return relative_error(x, npy(folder / "audio_expected.npy"));
}

/// The same of what is heard, from the file's own tensors.
double error_heard(const std::filesystem::path& file, const std::filesystem::path& folder) {
  const auto z = noise_of(folder);
  const Noise noise({z.sizes().vec(), tensor_vector(z)}, "z");
  const auto sound = Synthesizer(VoiceFile(file), {.sigma = sigma()})(files::read_mel(tiny() / "mel.npy"), noise);
  return relative_error(vector_tensor(sound.samples), npy(folder / "audio_expected.npy"));
}

TEST_P(PublishedVoice, SpeaksAsTheReferenceDoes) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  const auto folder = shared("reference/waveglow/tiny");
  EXPECT_LT(error_of(load_voice(folder / GetParam().file), folder), GetParam().tolerance);
  EXPECT_LT(error_heard(folder / GetParam().file, folder), GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    All, PublishedVoice,
    ::testing::Values(Published{"nvidia_module_legacy.pt", 1e-5}, Published{"nvidia_module_zip.pt", 1e-5},
                      Published{"state_dict_legacy.pt", 1e-5}, Published{"joc_ddp_legacy.pt", 1e-5},
                      Published{"weight_norm_removed_zip.pt", 1e-5}, Published{"parametrized_zip.pt", 1e-5},
                      Published{"state_dict.safetensors", 1e-5}, Published{"state_dict_half_zip.pt", 2e-2}));

TEST(PublishedVoice2018, SwapsTheHalvesOfOddFlows) {
  REQUIRE_SHARED("reference/waveglow/tiny_2018");
  const auto folder = shared("reference/waveglow/tiny_2018");
  auto voice = load_voice(folder / "nvidia_module_legacy.pt");
  EXPECT_TRUE(voice.model_config["swap_odd_halves"].get<bool>());
  EXPECT_LT(error_of(voice, folder), 1e-5);

  // What the voice says of itself is enough to make it again, and it is a bijection still.
  const testing::TempDir out;
  save_voice(out / "v.safetensors", voice, AtomicFile::Existing::refuse);
  const auto again = load_voice(out / "v.safetensors");
  EXPECT_LT(error_of(again, folder), 1e-5);
  EXPECT_LT(error_heard(out / "v.safetensors", folder), 1e-5);
  torch::NoGradGuard no_grad;
  const auto mel = npy(shared("reference/waveglow/tiny/mel.npy")).unsqueeze(0);
  const auto x = torch::randn({1, mel.size(2) * voice.mel.hop_length}) * 0.1;
  const auto z = voice.model->forward(x, mel).value;
  EXPECT_LT(relative_error(voice.model->inverse(z, mel).value, x), 1e-4);
}

TEST(PublishedVoice, SaysWhereItCameFrom) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  const auto voice = load_voice(shared("reference/waveglow/tiny/joc_ddp_legacy.pt"));
  EXPECT_NE(voice.card.at("origin").find("joc_ddp_legacy.pt: PyTorch legacy"), std::string::npos)
      << voice.card.at("origin");
  EXPECT_EQ(voice.mel.n_mels, 8);
}

}  // namespace
}  // namespace melflow::engine
