#include "engine/eval/score.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "engine/eval/recordings.h"
#include "engine/files/mel_file.h"
#include "engine/tensors.h"
#include "tests/engine/eval_fixture.h"

namespace melflow::engine {
namespace {

using melflow::testing::TempDir;

const double kHalfLog2Pi = 0.5 * std::log(2 * std::numbers::pi);

void be_a_block_flow(ModelVoice& voice) {
  const nlohmann::json config{{"system", "block_flow"}, {"hidden", 16}, {"encoder_channels", 16}};
  voice.model = build_vocoder(config, "test");
  const auto bank = audio::mel_filterbank(voice.mel);
  voice.model->set_filterbank(torch::tensor(at::ArrayRef<double>(bank), torch::kFloat64).view({80, -1}));
  torch::NoGradGuard no_grad;
  for (auto& p : voice.model->parameters()) p.add_(torch::randn_like(p) * 0.03);
  voice.model->eval();
}

TEST(Score, IsTheChangeOfVariables) {
  const auto voice = random_waveglow_voice();
  const auto recording = read_recording(golden_clip(), voice);
  const auto x = whole_frames(recording.sound, 256);
  const auto mel = mel_tensor(recording.mel);
  const auto score = engine::score(*voice.model, x, mel);

  torch::NoGradGuard no_grad;
  const auto mapped = voice.model->forward(x, mel);
  const double samples = static_cast<double>(x.size(1));
  const double loss =
      (mapped.value.to(torch::kFloat64).square().sum().item<double>() / 2 - mapped.log_det.item<double>()) / samples;
  EXPECT_NEAR(score.loss, loss, 1e-5 * (1 + std::abs(loss)));
  EXPECT_NEAR(score.nats_per_sample, score.loss + kHalfLog2Pi, 1e-12);
  EXPECT_EQ(score.z.sizes(), torch::IntArrayRef({8, x.size(1) / 8}));
  EXPECT_TRUE(torch::equal(score.z, mapped.value[0]));
  EXPECT_NEAR(score.noise_power, mapped.value.square().mean().item<double>(), 1e-5 * score.noise_power);
}

/// A centred mel has a frame more than the sound, which a model that looks ahead has seen.
TEST(Score, SeesTheMelToItsEnd) {
  torch::manual_seed(12);
  auto voice = random_waveglow_voice();
  be_a_block_flow(voice);
  const auto recording = read_recording(golden_clip(), voice);
  const auto x = whole_frames(recording.sound, 256), mel = mel_tensor(recording.mel);
  ASSERT_EQ(mel.size(2), x.size(1) / 256 + 1);
  torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(engine::score(*voice.model, x, mel).z, voice.model->forward(x, mel).value[0]));
}

TEST(Score, OfFramesAverageToTheWhole) {
  const auto voice = random_waveglow_voice();
  const auto recording = read_recording(golden_clip(), voice);
  const auto score = engine::score(*voice.model, whole_frames(recording.sound, 256), mel_tensor(recording.mel));
  ASSERT_EQ(score.per_frame.size(), recording.sound.samples.size() / 256);
  const double mean = std::accumulate(score.per_frame.begin(), score.per_frame.end(), 0.0) /
                      static_cast<double>(score.per_frame.size());
  EXPECT_NEAR(mean, score.nats_per_sample, 1e-5);
}

TEST(Score, IsTheSameInTiles) {
  for (const char* system : {"waveglow", "block_flow"}) {
    torch::manual_seed(12);
    auto voice = random_waveglow_voice();
    if (std::string(system) == "block_flow") be_a_block_flow(voice);
    const auto recording = read_recording(golden_clip(), voice);
    const auto x = whole_frames(recording.sound, 256), mel = mel_tensor(recording.mel);
    const auto whole = engine::score(*voice.model, x, mel), tiled = engine::score(*voice.model, x, mel, 40);
    ASSERT_EQ(whole.per_frame.size(), tiled.per_frame.size());
    for (size_t i = 0; i < whole.per_frame.size(); ++i) {
      EXPECT_NEAR(whole.per_frame[i], tiled.per_frame[i], 1e-4 * (1 + std::abs(whole.per_frame[i]))) << system << i;
    }
    EXPECT_LT((whole.z - tiled.z).abs().max().item<double>(), 1e-3 * (1 + whole.z.abs().max().item<double>()))
        << system;
  }
}

TEST(Score, BringsARecordingToTheLevelOfTheVoice) {
  const auto voice = random_waveglow_voice(0.1);
  const auto recording = read_recording(golden_clip(), voice);
  double sum = 0;
  for (const float s : recording.sound.samples) sum += static_cast<double>(s) * s;
  EXPECT_NEAR(std::sqrt(sum / static_cast<double>(recording.sound.samples.size())), 0.1, 1e-6);
  EXPECT_EQ(read_recording(golden_clip(), voice, Loudness::own).gain, 1.0);

  TempDir folder;
  write_tone(folder / "silent.wav", 0.0);
  EXPECT_THROW(read_recording(folder / "silent.wav", voice), Error);
}

TEST(Score, TakesTheMelFromAFile) {
  const auto voice = random_waveglow_voice(0.1);
  TempDir folder;
  auto plain = read_recording(golden_clip(), voice, Loudness::own);
  plain.mel.recipe = voice.mel;
  files::write_mel(folder / "own.safetensors", plain.mel, AtomicFile::Existing::refuse);
  const auto with_file = read_recording(golden_clip(), voice, folder / "own.safetensors");
  EXPECT_EQ(with_file.mel.values, plain.mel.values);
  EXPECT_EQ(with_file.sound.samples, plain.sound.samples);

  auto other = plain.mel;
  other.recipe->f_max = 11025;
  files::write_mel(folder / "other.safetensors", other, AtomicFile::Existing::refuse);
  EXPECT_THROW(read_recording(golden_clip(), voice, folder / "other.safetensors"), Error);
  audio::Mel shorter{80, 10, std::vector<float>(800, -5.0f), voice.mel};
  files::write_mel(folder / "short.npy", shorter, AtomicFile::Existing::refuse);
  EXPECT_THROW(read_recording(golden_clip(), voice, folder / "short.npy"), Error);
  const int fills = static_cast<int>(plain.sound.samples.size()) / 256;
  for (const int more : {0, 2, 3}) {
    const audio::Mel longer{80, fills + more, std::vector<float>(static_cast<size_t>(80 * (fills + more)), -5.0f), {}};
    files::write_mel(folder / "longer.npy", longer, AtomicFile::Existing::replace);
    if (more <= 2) {
      EXPECT_EQ(read_recording(golden_clip(), voice, folder / "longer.npy").mel.frames, fills + more);
    } else {
      EXPECT_THROW(read_recording(golden_clip(), voice, folder / "longer.npy"), Error);
    }
  }
}

}  // namespace
}  // namespace melflow::engine
