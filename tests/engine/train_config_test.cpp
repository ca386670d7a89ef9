#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/train/config.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow::engine {
namespace {

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
  for (const auto& [key, value] : std::map<std::string, nlohmann::json>{
           {"learning_rat", 1}, {"sigma", 0.5}, {"checkpoint_path", "waveglow_old.pt"}}) {
    auto wrong = json;
    wrong["train_config"][key] = value;
    EXPECT_THROW(parse_train_config(wrong, {}, "config.json"), Error) << key;
  }
}

TEST(TrainConfig, UnknownKeysAreErrorsWithTheNearestName) {
  const auto message = [](const nlohmann::json& json, const std::vector<std::string>& sets) {
    return testing::refusal_of([&] { parse_train_config(json, sets, "c.json"); }).message;
  };
  EXPECT_NE(message({{"train", {{"batchsize", 3}}}}, {}).find("'batch_size'"), std::string::npos);
  EXPECT_NE(message({{"trian", nlohmann::json::object()}}, {}).find("'train'"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"mel.hop=3"}).find("hop_length"), std::string::npos);
  EXPECT_NE(
      message(nlohmann::json::object(), {"modle.hidden=3"}).find("unknown section 'modle'; did you mean 'model'?"),
      std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"steps=fast"}).find("steps"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"beta2=1.5"}).find("beta"), std::string::npos);
  EXPECT_NE(message(nlohmann::json::object(), {"learning_rate=1e-5", "final_learning_rate=1e-4"}).find("above"),
            std::string::npos);
  EXPECT_EQ(message(nlohmann::json::object(), {"train.steps=5", "model.n_flows=4", "name=x"}), "");
}

TEST(TrainConfig, NumbersThatNoTrainingCanHaveAreRefusedAsConfigurations) {
  const auto code = [](const nlohmann::json& json, const std::vector<std::string>& sets) {
    return testing::refusal_of([&] { parse_train_config(json, sets, "c.json"); }).code;
  };
  // 2^56 frames of 256 samples are 2^64 samples, which 64 bits take for none.
  EXPECT_EQ(code(nlohmann::json::object(), {"segment_frames=72057594037927936"}), Exit::config);
  EXPECT_EQ(code(nlohmann::json::object(), {"segment_frames=0"}), Exit::config);
  for (const char* set : {"refine=100000", "draws=100000", "sigma=1e9", "level=1e9", "data_workers=1000", "augment=1.5",
                          "augment_speed=-0.1", "augment_gain_db=100", "augment_noise=2", "augment_equaliser_db=nan"}) {
    EXPECT_EQ(code(nlohmann::json::object(), {"model.system=block_flow", set}), Exit::config) << set;
  }
  EXPECT_EQ(code(nlohmann::json::object(), {"patience=3", "validation_every=0"}), Exit::config);
  const nlohmann::json none = nlohmann::json::object();
  EXPECT_EQ(code({{"waveglow_config", 3}}, {}), Exit::config);
  EXPECT_EQ(code({{"waveglow_config", {{"WN_config", "x"}}}}, {}), Exit::config);
  EXPECT_EQ(code({{"waveglow_config", none}, {"data_config", {{"hop_length", "256"}}}}, {}), Exit::config);
  EXPECT_EQ(code({{"waveglow_config", none}, {"data_config", {{"hop_length", 1 << 30}}}}, {}), Exit::config);
  EXPECT_EQ(code({{"waveglow_config", none}, {"data_config", {{"segment_length", "long"}}}}, {}), Exit::config);
}

TEST(TrainConfig, MelsThatLieBesideRecordingsAreNotTakenForThoseOfChangedCrops) {
  const auto refusal = [](const std::vector<std::string>& sets) {
    return testing::refusal_of([&] { parse_train_config(nlohmann::json::object(), sets, "c.json"); });
  };
  EXPECT_EQ(refusal({"mels=true"}).message, "");
  const auto refused = refusal({"mels=true", "augment_speed=0.1"});
  EXPECT_EQ(refused.code, Exit::config);
  EXPECT_NE(refused.message.find("augment=0"), std::string::npos) << refused.message;
  EXPECT_EQ(refusal({"mels=true", "augment_speed=0.1", "augment=0"}).message, "");
}

TEST(TrainConfig, WhatIsWrittenIsReadBack) {
  const auto config = parse_train_config({{"model", {{"system", "block_flow"}}}}, {"steps=77", "mel.f_max=7600"}, "t");
  const auto again = parse_train_config(to_json(config), {}, "t");
  EXPECT_EQ(to_json(again), to_json(config));
  EXPECT_EQ(again.steps, 77);
  EXPECT_EQ(again.mel.f_max, 7600);
}

TEST(TrainConfig, TrainingMdTellsEveryKey) {
  std::ifstream in(testing::in_tree("docs/TRAINING.md"));
  const std::string page((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  ASSERT_FALSE(page.empty());
  for (const char* system : {"waveglow", "block_flow"}) {
    const auto config = to_json(parse_train_config({{"model", {{"system", system}}}}, {}, "t"));
    for (const auto& [section, keys] : config.items()) {
      for (const auto& [key, value] : keys.items()) {
        EXPECT_NE(page.find(key == "system" ? "model.system=" + value.get<std::string>() : "`" + key + "`"),
                  std::string::npos)
            << section << "." << key;
      }
    }
  }
}

}  // namespace
}  // namespace melflow::engine
