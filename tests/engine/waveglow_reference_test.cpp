// WaveGlow against what NVIDIA's own code computed in float64 from the same weights and inputs.

#include "engine/model_voice.h"
#include "engine/synth/denoiser.h"
#include "engine/train/trainer.h"
#include "models/waveglow.h"
#include "tests/engine/import_waveglow.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

using melflow::testing::import_waveglow;
using melflow::testing::json_of;
using melflow::testing::npy;
using melflow::testing::relative_error;
using melflow::testing::shared;
using melflow::testing::tensors_of;

struct Reference {
  std::string folder, weights;
};

std::ostream& operator<<(std::ostream& out, const Reference& r) { return out << r.folder; }

std::shared_ptr<models::WaveGlow> load(const std::filesystem::path& path) {
  const auto imported = import_waveglow(tensors_of(path), path.string());
  auto model = std::make_shared<models::WaveGlow>(imported.options);
  torch::NoGradGuard no_grad;
  auto parameters = model->named_parameters();
  EXPECT_EQ(parameters.size(), imported.tensors.size());
  for (auto& p : parameters) p.value().copy_(imported.tensors.at(p.key()));
  return model;
}

class WaveGlowReference : public ::testing::TestWithParam<Reference> {
 protected:
  std::filesystem::path at(const std::string& name) const {
    return shared("reference/waveglow/" + GetParam().folder) / name;
  }
};

TEST_P(WaveGlowReference, ReadsTheConfigurationOffTheShapes) {
  REQUIRE_SHARED("reference/waveglow/" + GetParam().folder);
  const auto config = json_of(at("config.json"))["waveglow"];
  const auto options = load(at(GetParam().weights))->options();
  EXPECT_EQ(options.n_mels, config["n_mel_channels"]);
  EXPECT_EQ(options.n_flows, config["n_flows"]);
  EXPECT_EQ(options.group_size, config["n_group"]);
  EXPECT_EQ(options.early_every, config["n_early_every"]);
  EXPECT_EQ(options.early_size, config["n_early_size"]);
  EXPECT_EQ(options.wavenet_layers, config["WN_config"]["n_layers"]);
  EXPECT_EQ(options.wavenet_channels, config["WN_config"]["n_channels"]);
  EXPECT_EQ(options.wavenet_kernel, config["WN_config"]["kernel_size"]);
}

TEST_P(WaveGlowReference, InverseGivesTheReferenceAudio) {
  REQUIRE_SHARED("reference/waveglow/" + GetParam().folder);
  torch::NoGradGuard no_grad;
  auto model = load(at(GetParam().weights));
  const double sigma = json_of(at("config.json"))["sigma"];
  const auto expected = npy(at("audio_expected.npy"));
  const auto row = [&](const char* name) {
    const auto z = npy(at(name));
    return z.view({-1, z.size(-1)});
  };
  // The reference draws the last channels first; the forward pass emits them last.
  const auto z = torch::cat({row("z_2.npy"), row("z_1.npy"), row("z_0.npy")}).unsqueeze(0) * sigma;
  const auto mel = npy(at("mel.npy")).unsqueeze(0);
  EXPECT_LT(relative_error(model->inverse(z, mel).value[0], expected), 1e-5);
}

TEST_P(WaveGlowReference, ForwardGivesTheReferenceLatentAndLoss) {
  REQUIRE_SHARED("reference/waveglow/" + GetParam().folder);
  torch::NoGradGuard no_grad;
  auto model = load(at(GetParam().weights));
  const auto expected = json_of(at("expected.json"));
  const auto x = npy(at("forward_audio.npy")).view({1, -1});
  const auto mel = npy(at("forward_mel.npy"));
  const auto out = model->forward(x, mel.view({1, mel.size(-2), mel.size(-1)}));
  const auto z = npy(at("forward_z_expected.npy"));
  EXPECT_LT(relative_error(out.value[0], z.view_as(out.value[0])), 1e-5);

  // expected.json's sum_log_det does not fit its own loss: loss = (½Σz² - Σ log s - log det) / samples with the latent
  // and the Σ log s stored beside it gives another number, to ten digits that of the weights. The loss is what
  // NVIDIA's criterion computes, so it is the loss that counts here, and what it implies.
  const double samples = expected["samples"], loss = expected["loss_sigma1"], sum_log_s = expected["sum_log_s"];
  const double half_energy = z.to(torch::kFloat64).square().sum().item<double>() / 2;
  const double want_log_det = half_energy - loss * samples;
  const double log_det = out.log_det.item<double>();
  EXPECT_NEAR(log_det, want_log_det, 1e-5 * std::abs(want_log_det));
  // The loss is a small difference of large sums; its own scale is that of the sums it is made of.
  const double scale = std::max(std::abs(loss), std::abs(want_log_det) / samples);
  EXPECT_NEAR(nats_by_group(out, model->group_size()).mean().item<double>(), loss, 1e-5 * scale);

  double rotation = 0;  // Σ over flows of groups · ln|det W|
  for (const auto& p : model->named_parameters()) {
    if (p.key().ends_with("conv1x1.weight")) {
      rotation += std::get<1>(torch::linalg_slogdet(p.value().to(torch::kFloat64))).item<double>();
    }
  }
  rotation *= static_cast<double>(out.value.size(2));
  EXPECT_NEAR(log_det - rotation, sum_log_s, 1e-5 * std::abs(sum_log_s));
  const double want = want_log_det - sum_log_s;
  EXPECT_NEAR(rotation, want, 1e-5 * std::max(1.0, std::abs(want)));
}

INSTANTIATE_TEST_SUITE_P(All, WaveGlowReference,
                         ::testing::Values(Reference{"tiny", "state_dict.safetensors"},
                                           Reference{"mel80", "state_dict_half.safetensors"}),
                         [](const auto& of) { return of.param.folder; });

TEST(WaveGlowTraining, FortyAdamStepsFollowTheReferenceCurve) {
  REQUIRE_SHARED("reference/waveglow/train");
  const auto folder = shared("reference/waveglow/train");
  const auto expected = json_of(folder / "expected.json");
  auto model = load(folder / "initial_state_dict.safetensors");
  const auto audio = npy(folder / "audio_batches.npy") / 32768.0, mel = npy(folder / "mel_batches.npy");
  torch::optim::Adam adam(model->parameters(), torch::optim::AdamOptions(expected["lr"].get<double>()));
  const auto& want = expected["losses_float64"];
  for (size_t i = 0; i < want.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    const auto loss = nats_by_group(model->forward(audio[step], mel[step]), model->group_size()).mean();
    adam.zero_grad();
    loss.backward();
    adam.step();
    EXPECT_NEAR(loss.item<double>(), want[i].get<double>(), 2e-4) << "step " << i;
  }
}

TEST(DenoiserReference, BiasAndDenoisedAudioAreNvidias) {
  REQUIRE_SHARED("reference/waveglow/mel80");
  const auto folder = shared("reference/waveglow/mel80");
  auto model = load(folder / "state_dict_half.safetensors");
  const auto bias = denoiser_bias(*stream_source(model), audio::MelOptions{});
  EXPECT_LT(relative_error(vector_tensor(bias), npy(folder / "denoiser_bias_zeros.npy").flatten()), 1e-4);

  const auto audio = tensor_vector(npy(folder / "audio_expected.npy").flatten());
  const auto expected = npy(folder / "denoised_0.1_expected.npy").flatten();
  for (const size_t piece : {audio.size(), size_t{1}, size_t{777}}) {  // the same for every way of cutting
    Denoiser denoiser(bias, 0.1f);
    std::vector<float> out;
    for (size_t i = 0; i < audio.size(); i += piece) {
      denoiser.push(std::span(audio).subspan(i, std::min(piece, audio.size() - i)), out);
    }
    denoiser.finish(out);
    ASSERT_EQ(out.size(), audio.size());
    EXPECT_LT(relative_error(vector_tensor(out), expected), 1e-4);
  }
}

}  // namespace
}  // namespace melflow::engine
