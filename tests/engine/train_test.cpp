#include <cmath>
#include <fstream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/wav.h"
#include "engine/noise.h"
#include "engine/train/trainer.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

using melflow::testing::TempDir;
using melflow::testing::tensors_of;

/// A voiced sound: harmonics of 150 Hz with a slow swell, and a little noise.
audio::Waveform tone(double seconds, int rate = 22050) {
  audio::Waveform out{{}, rate};
  const auto n = static_cast<int64_t>(seconds * rate);
  for (int64_t i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / rate;
    double x = 0.002 * normal_at(5, 0, i);
    for (int h = 1; h < 8; ++h) x += 0.05 / h * std::sin(2 * M_PI * 150 * h * t);
    out.samples.push_back(static_cast<float>(x * (0.6 + 0.4 * std::sin(2 * M_PI * 3 * t))));
  }
  return out;
}

void write(const std::filesystem::path& path, const audio::Waveform& sound) {
  audio::write_audio(path, sound, audio::Encoding::pcm16, AtomicFile::Existing::refuse);
}

TrainConfig small_config(const std::vector<std::string>& more = {}) {
  std::vector<std::string> sets{"steps=12",           "batch_size=2",     "segment_frames=8",
                                "warmup_steps=2",     "hold_out_every=3", "validation_every=6",
                                "checkpoint_every=6", "sample_every=12",  "learning_rate=1e-3"};
  sets.insert(sets.end(), more.begin(), more.end());
  const nlohmann::json model{{"system", "waveglow"}, {"n_flows", 2},          {"group_size", 16},
                             {"wavenet_layers", 2},  {"wavenet_channels", 8}, {"conditioning", "frame_rate"},
                             {"context_channels", 8}};
  return parse_train_config({{"model", model}}, sets, "test");
}

class TrainTest : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    std::filesystem::create_directories(data());
    for (const char* name : {"a.wav", "b.wav", "c.flac", "d.wav"}) write(data() / name, tone(0.9));
  }
  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path run(const std::string& name) const { return folder_ / name; }
  std::shared_ptr<Corpus> corpus(const TrainConfig& config) const {
    return load_corpus({data()}, config, [](const std::string& line) { ADD_FAILURE() << line; });
  }

  static void train(Trainer& trainer, int64_t until) {
    trainer.run([&] { return trainer.step() >= until; }, [](const Progress&) {});
  }

 private:
  TempDir folder_;
};

TEST_F(TrainTest, LearnsAndLeavesWhatARunShould) {
  auto config = small_config({"steps=60", "learning_rate=3e-3"});
  Trainer trainer(config, corpus(config), run("r"), false);
  const double before = trainer.validate();
  train(trainer, config.steps);
  EXPECT_LT(trainer.validate(), before - 0.1);
  for (const char* name : {"config.json", "metrics.jsonl", "voice.safetensors", "checkpoints/step-60.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(run("r") / name)) << name;
  }
  EXPECT_EQ(load_voice(run("r") / "voice.safetensors").model_config, config.model);
  const auto samples = std::distance(std::filesystem::directory_iterator(run("r") / "samples"), {});
  EXPECT_EQ(samples, 2 * 2 * 5);  // a sound and a picture of each of two recordings, every twelfth of sixty steps
}

TEST_F(TrainTest, StoppedAndResumedEqualsUninterruptedBitForBit) {
  for (const std::string system : {"waveglow", "block_flow"}) {
    auto config = small_config();
    if (system == "block_flow") {
      const nlohmann::json model{{"system", system}, {"encoder_channels", 8}, {"hidden", 8}, {"layers", 1}};
      config = parse_train_config({{"model", model}},
                                  {"steps=12", "batch_size=2", "segment_frames=6", "sample_every=0", "hold_out_every=3",
                                   "checkpoint_every=100"},
                                  "test");
    }
    Trainer straight(config, corpus(config), run(system + "_straight"), false);
    train(straight, 12);
    for (const int64_t cut : {5, 9}) {
      Trainer part(config, corpus(config), run(system + "_cut"), cut != 5);
      train(part, cut);
    }
    Trainer rest(config, corpus(config), run(system + "_cut"), true);
    EXPECT_EQ(rest.step(), 9);
    train(rest, 12);
    const auto a = tensors_of(run(system + "_straight") / "checkpoints/step-12.safetensors");
    const auto b = tensors_of(run(system + "_cut") / "checkpoints/step-12.safetensors");
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << system << " " << name;
  }
}

TEST_F(TrainTest, FineTuningBeginsWithTheVoice) {
  const auto config = small_config();
  Trainer first(config, corpus(config), run("first"), false);
  train(first, 12);
  const auto voice = load_voice(run("first") / "voice.safetensors");

  auto other_seed = small_config({"seed=99"});
  Trainer tuned(other_seed, corpus(other_seed), run("tuned"), false);
  EXPECT_NE(tuned.validate(), first.validate());
  tuned.start_from(voice);
  EXPECT_DOUBLE_EQ(tuned.validate(), first.validate());
  train(tuned, 6);
  Trainer resumed(other_seed, corpus(other_seed), run("tuned"), true);
  const double before = resumed.validate();
  resumed.start_from(voice);  // a run that is on its way keeps its own weights
  EXPECT_DOUBLE_EQ(resumed.validate(), before);
  EXPECT_NE(before, first.validate());

  const auto wider = small_config({"model.wavenet_channels=12"}), lower = small_config({"mel.f_max=7000"});
  for (const auto& [other, part] : {std::pair{wider, "model"}, std::pair{lower, "f_max"}}) {
    Trainer trainer(other, corpus(other), run(part), false);
    try {
      trainer.start_from(voice);
      FAIL() << "took a voice of another " << part;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Exit::config);
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  }
}

TEST_F(TrainTest, ADamagedCheckpointIsPassedOver) {
  auto config = small_config({"checkpoint_every=3", "sample_every=0"});
  {
    Trainer trainer(config, corpus(config), run("r"), false);
    train(trainer, 6);
  }
  std::filesystem::resize_file(run("r") / "checkpoints/step-6.safetensors", 1000);
  Trainer again(config, corpus(config), run("r"), true);
  EXPECT_EQ(again.step(), 3);
}

TEST_F(TrainTest, ARunIsNotOverwritten) {
  auto config = small_config({"steps=1", "sample_every=0"});
  {
    Trainer trainer(config, corpus(config), run("r"), false);
    train(trainer, 1);
  }
  EXPECT_THROW(Trainer(config, corpus(config), run("r"), false), Error);
}

TEST_F(TrainTest, StepsThatAreNotFiniteAreLeftOutAndEndTheRunWhenThereAreMany) {
  auto config = small_config({"bad_steps_in_a_row=3", "sample_every=0", "validation_every=0"});
  Trainer trainer(config, corpus(config), run("r"), false);
  train(trainer, 2);
  auto weights = trainer.model().parameters().front();
  const auto good = weights.detach().clone();
  {
    torch::NoGradGuard no_grad;
    weights.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_THROW(train(trainer, 12), Error);
  EXPECT_EQ(trainer.skipped_steps(), 3);
  torch::NoGradGuard no_grad;
  weights.copy_(good);
  for (const auto& p : trainer.model().parameters()) EXPECT_TRUE(p.isfinite().all().item<bool>());
}

TEST(TrainConfig, NvidiasConfigIsUnderstood) {
  const auto json = nlohmann::json::parse(R"({
    "train_config": {"fp16_run": true, "output_directory": "checkpoints", "epochs": 100000, "learning_rate": 1e-4,
                     "sigma": 1.0, "iters_per_checkpoint": 2000, "batch_size": 12, "seed": 1234,
                     "checkpoint_path": "", "with_tensorboard": false},
    "data_config": {"training_files": "train_files.txt", "segment_length": 16000, "sampling_rate": 22050,
                    "filter_length": 1024, "hop_length": 256, "win_length": 1024, "mel_fmin": 0.0, "mel_fmax": 8000.0},
    "dist_config": {"dist_backend": "nccl", "dist_url": "tcp://localhost:54321"},
    "waveglow_config": {"n_mel_channels": 80, "n_flows": 12, "n_group": 8, "n_early_every": 4, "n_early_size": 2,
                        "WN_config": {"n_layers": 8, "n_channels": 256, "kernel_size": 3}}})");
  const auto config = parse_train_config(json, {}, "config.json");
  EXPECT_EQ(config.model["wavenet_channels"], 256);
  EXPECT_EQ(config.model["conditioning"], "sample_rate");
  EXPECT_EQ(config.batch_size, 12);
  EXPECT_EQ(config.segment_frames, 62);
  EXPECT_EQ(config.checkpoint_every, 2000);
  EXPECT_EQ(config.mel, audio::MelOptions{});
  auto wrong = json;
  wrong["train_config"]["learning_rat"] = 1;
  EXPECT_THROW(parse_train_config(wrong, {}, "config.json"), Error);
}

TEST(TrainConfig, UnknownKeysAreErrorsWithTheNearestName) {
  const auto message = [](const nlohmann::json& json, const std::vector<std::string>& sets) -> std::string {
    try {
      parse_train_config(json, sets, "c.json");
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  };
  EXPECT_NE(message({{"train", {{"batchsize", 3}}}}, {}).find("'batch_size'"), std::string::npos);
  EXPECT_NE(message({{"trian", nlohmann::json::object()}}, {}).find("'train'"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"mel.hop=3"}).find("hop_length"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"steps=fast"}).find("steps"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"beta2=1.5"}).find("beta"), std::string::npos);
  EXPECT_EQ(message(nlohmann::json::object(), {"train.steps=5", "model.n_flows=4", "name=x"}), "");
}

TEST(TrainConfig, WhatIsWrittenIsReadBack) {
  const auto config = parse_train_config({{"model", {{"system", "block_flow"}}}}, {"steps=77", "mel.f_max=7600"}, "t");
  const auto again = parse_train_config(to_json(config), {}, "t");
  EXPECT_EQ(to_json(again), to_json(config));
  EXPECT_EQ(again.steps, 77);
  EXPECT_EQ(again.mel.f_max, 7600);
}

}  // namespace
}  // namespace melflow::engine
