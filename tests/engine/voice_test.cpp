#include "engine/model_voice.h"

#include <fstream>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "engine/model_config.h"
#include "engine/tensors.h"
#include "tests/engine/small_voice.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow::engine {
namespace {

using melflow::testing::small_mel;
using melflow::testing::small_voice;
using melflow::testing::TempDir;

/// What goes wrong, as text; empty where nothing does.
std::string failure(const auto& work) { return testing::refusal_of(work).message; }

/// The small voice with its metadata or tensors changed before it is written.
std::string loading_changed(const std::function<void(std::map<std::string, std::string>&, TensorTable&)>& change) {
  TempDir folder;
  const auto voice = small_voice();
  auto metadata = voice_metadata(voice);
  TensorTable table;
  for (const auto& p : voice.model->named_parameters()) table.add(p.key(), p.value());
  change(metadata, table);
  files::write_safetensors(folder / "v.safetensors", table.views(), metadata, AtomicFile::Existing::refuse);
  return failure([&] { load_voice(folder / "v.safetensors"); });
}

TEST(VoiceFile, RoundTripKeepsEverything) {
  TempDir folder;
  auto voice = small_voice();
  voice.level = 0.08;
  voice.sigma = 0.7;
  voice.refine = 8;
  voice.card["licence"] = "CC0-1.0";
  save_voice(folder / "v.safetensors", voice, AtomicFile::Existing::refuse);
  const auto back = load_voice(folder / "v.safetensors");
  EXPECT_EQ(back.model_config, voice.model_config);
  EXPECT_EQ(back.mel, voice.mel);
  EXPECT_EQ(back.level, 0.08);
  EXPECT_EQ(back.sigma, 0.7);
  EXPECT_EQ(back.refine, 8);
  EXPECT_EQ(back.card, voice.card);
  const auto a = voice.model->named_parameters(), b = back.model->named_parameters();
  for (const auto& p : a) EXPECT_TRUE(torch::equal(p.value(), b[p.key()])) << p.key();
}

TEST(VoiceFile, UnchangedLoads) {
  EXPECT_EQ(loading_changed([](auto&, auto&) {}), "");
}

TEST(VoiceFile, RefusalsNameTheFileAndTheFault) {
  const auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find("v.safetensors"), std::string::npos) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(loading_changed([](auto& m, auto&) { m.erase("melflow_format_version"); }), "melflow_format_version");
  expect(loading_changed([](auto& m, auto&) { m["melflow_format_version"] = "2"; }), "version 2");
  expect(loading_changed([](auto& m, auto&) { m["model_config"] = "{"; }), "model_config");
  expect(loading_changed([](auto& m, auto&) { m["model_config"] = R"({"system":"waveglow","n_flow":3})"; }), "n_flows");
  expect(loading_changed([](auto& m, auto&) { m["model_config"] = R"({"system":"wavglow"})"; }), "waveglow");
  expect(loading_changed([](auto& m, auto&) { m["sigma"] = "1e999"; }), "sigma");
  expect(loading_changed([](auto&, auto& t) { t.add("flows_0_conv1x1.weight", torch::zeros({8, 7})); }), "shape");
  expect(loading_changed([](auto&, auto& t) { t.add("stranger", torch::zeros({1})); }), "stranger");
  expect(loading_changed([](auto&, auto& t) {
           t.add("flows_0_conv1x1.weight", torch::full({8, 8}, std::numeric_limits<float>::quiet_NaN()));
         }),
         "NaN");
}

TEST(VoiceFile, AModelLargerThanItsFileIsRefusedBeforeItIsBuilt) {
  const auto message = loading_changed([](auto& m, auto&) {
    m["model_config"] = R"({"system":"waveglow","wavenet_channels":65536,"wavenet_layers":20,"n_mels":8})";
  });
  EXPECT_NE(message.find("larger model than its tensors"), std::string::npos) << message;
}

TEST(VoiceFile, AMelOfAnotherRecipeIsAnErrorThatNamesTheField) {
  const auto voice = small_voice();
  auto mel = small_mel(3);
  EXPECT_EQ(failure([&] { require_same_recipe(mel, voice, "m"); }), "");
  mel.recipe = voice.mel;
  mel.recipe->f_max = 7000;
  const auto message = failure([&] { require_same_recipe(mel, voice, "m.safetensors"); });
  EXPECT_NE(message.find("f_max"), std::string::npos) << message;
  mel.n_mels = 7;
  EXPECT_NE(failure([&] { require_same_recipe(mel, voice, "m"); }).find("bands"), std::string::npos);
}

TEST(VoiceFile, DrawsAreForBlockVoicesAndFew) {
  const auto with_draws = [](const std::string& draws) {
    return loading_changed([&](auto& metadata, auto&) { metadata["draws"] = draws; });
  };
  EXPECT_EQ(with_draws("1"), "");
  EXPECT_NE(with_draws("16").find("block_flow"), std::string::npos) << with_draws("16");
  for (const char* wrong : {"0", "65", "2.5", "many"}) EXPECT_NE(with_draws(wrong).find("'draws'"), std::string::npos);
}

TEST(VoiceFile, TellsHowManyPassesRefineIt) {
  const auto with = [](const std::string& passes) {
    return loading_changed([&](auto& metadata, auto&) { metadata["refine"] = passes; });
  };
  EXPECT_EQ(with("0"), "");
  EXPECT_EQ(with("64"), "");
  for (const char* wrong : {"-1", "65", "2.5", "[]"}) EXPECT_NE(with(wrong).find("'refine'"), std::string::npos);
}

TEST(VoiceFile, DrawsAreWrittenAndWhatIsNotTrainedIsNotCounted) {
  TempDir folder;
  auto voice = load_voice(melflow::testing::in_tree("data/voices/kathleen.safetensors"));
  voice.draws = 7;
  save_voice(folder / "v.safetensors", voice, AtomicFile::Existing::refuse);
  const VoiceFile file(folder / "v.safetensors");
  EXPECT_EQ(file.voice().draws, 7);
  int64_t trained = 0;
  for (const auto& p : voice.model->parameters()) trained += p.numel();
  EXPECT_EQ(file.parameters(), trained);
}

/// A WaveGlow that sees 48 frames, of a hop that is no part of the denoiser's.
VoiceFile far_seeing_voice(const std::filesystem::path& path) {
  torch::manual_seed(4);
  ModelVoice voice = small_voice();
  voice.mel.hop_length = 200;
  voice.model_config = resolved_model_config({{"system", "waveglow"},
                                              {"n_mels", 8},
                                              {"hop_length", 200},
                                              {"upsample_kernel", 800},
                                              {"n_flows", 3},
                                              {"early_every", 2},
                                              {"wavenet_layers", 8},
                                              {"wavenet_channels", 4}},
                                             "small");
  voice.model = build_vocoder(voice.model_config, "small");
  torch::NoGradGuard no_grad;
  for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.05);
  voice.model->eval();
  save_voice(path, voice, AtomicFile::Existing::refuse);
  return VoiceFile(path);
}

TEST(Synthesizer, FromAnyStartTheSamplesAreThoseOfTheWhole) {
  TempDir folder;
  const auto file = far_seeing_voice(folder / "v.safetensors");
  const auto mel = small_mel(230);
  const double frame = 200.0 / 22050;
  for (const SynthOptions& options :
       {SynthOptions{.threads = 1}, {.denoise = 0.5f, .threads = 1}, {.threads = 1, .latency = 12.5 * frame}}) {
    const Synthesizer synthesizer(file, options);
    const auto whole = synthesizer(mel, Noise(3)).samples;
    ASSERT_EQ(whole.size(), 230u * 200u);
    for (const int64_t start : {1, 199, 20'000, 30'123, 45'999}) {
      std::vector<float> samples;
      synthesizer.run(
          mel, Noise(3),
          [&](std::span<const float> piece) { samples.insert(samples.end(), piece.begin(), piece.end()); }, start);
      ASSERT_EQ(samples.size(), whole.size() - static_cast<size_t>(start));
      EXPECT_TRUE(std::equal(samples.begin(), samples.end(), whole.begin() + start))
          << start << ", denoise " << options.denoise << ", latency " << options.latency;
    }
  }
}

TEST(Synthesizer, TheDenoisersTimeIsPartOfTheLatency) {
  TempDir folder;
  const auto file = far_seeing_voice(folder / "v.safetensors");
  const double frame = 200.0 / 22050, denoiser = 1024.0 / 22050;
  EXPECT_NO_THROW(Synthesizer(file, {.denoise = 0.5f, .threads = 1, .latency = denoiser + 1.1 * frame}));
  EXPECT_THROW(Synthesizer(file, {.denoise = 0.5f, .threads = 1, .latency = denoiser + 0.9 * frame}), Error);
  EXPECT_NO_THROW(Synthesizer(file, {.threads = 1, .latency = 1.1 * frame}));
}

TEST(Synthesizer, TheSameSeedGivesTheSameSamplesAndAnotherSeedOthers) {
  auto synthesizer = synthesizer_of(small_voice(), {.sigma = 0.5});
  const auto mel = small_mel(5);
  const auto a = synthesizer(mel, Noise(3)), b = synthesizer(mel, Noise(3)), c = synthesizer(mel, Noise(4));
  ASSERT_EQ(a.samples.size(), 5u * 256u);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_NE(a.samples, c.samples);
}

TEST(Synthesizer, DumpedNoiseGivesTheSameSamplesAgain) {
  auto synthesizer = synthesizer_of(small_voice(), {.sigma = 0.5});
  const auto mel = small_mel(4);
  const auto z = synthesizer.noise_for(mel, Noise(9));
  const Noise from_file(z, "z.npy");
  EXPECT_EQ(synthesizer(mel, from_file).samples, synthesizer(mel, Noise(9)).samples);
}

TEST(Synthesizer, LongMelsInTilesEqualOnePass) {
  const auto voice = small_voice();
  auto synthesizer = synthesizer_of(voice, {.sigma = 1.0});
  const auto mel = small_mel(1300);  // more than two tiles
  const auto tiled = synthesizer(mel, Noise(5));
  torch::InferenceMode guard;
  const auto whole = voice.model->inverse(noise_tensor(Noise(5), 8, 0, 1300 * 32), mel_tensor(mel)).value[0];
  EXPECT_LT((vector_tensor(tiled.samples) - whole).abs().max().item<double>(), 1e-5);
}

TEST(ModelConfig, NamesTheNearestKeyAndRefusesNonsense) {
  EXPECT_NE(failure([] {
              build_vocoder({{"system", "waveglow"}, {"group_sise", 8}}, "c.json");
            }).find("'group_size'"),
            std::string::npos);
  EXPECT_NE(failure([] { build_vocoder({{"group_size", 7}}, "c.json"); }).find("group_size"), std::string::npos);
  EXPECT_NE(failure([] { build_vocoder({{"n_flows", "many"}}, "c.json"); }).find("whole number"), std::string::npos);
  EXPECT_NE(failure([] { build_vocoder({{"n_flows", -3}}, "c.json"); }).find("n_flows"), std::string::npos);
}

}  // namespace
}  // namespace melflow::engine
