#include "base/error.h"
#include "engine/eval/score.h"
#include "engine/train/dataset.h"
#include "tests/engine/train_fixture.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

/// Of a block voice of a few numbers.
TrainConfig block_flow_config(std::vector<std::string> sets) {
  const nlohmann::json model{{"system", "block_flow"}, {"hidden", 8}, {"encoder_channels", 8}, {"layers", 1}};
  sets.insert(sets.end(), {"batch_size=2", "segment_frames=8", "sample_every=0"});
  return parse_train_config({{"model", model}}, sets, "test");
}

TEST_F(TrainTest, LearnsAndLeavesWhatARunShould) {
  auto config = small_config({"steps=60", "learning_rate=3e-3"});
  Trainer trainer(config, corpus(config), run("r"), false);
  const double before = trainer.validate();
  train(trainer);
  EXPECT_LT(trainer.validate(), before - 0.1);
  for (const char* name : {"config.json", "metrics.jsonl", "voice.safetensors", "checkpoints/step-60.safetensors"}) {
    EXPECT_TRUE(std::filesystem::exists(run("r") / name)) << name;
  }
  EXPECT_EQ(load_voice(run("r") / "voice.safetensors").model_config, config.model);
  melflow::testing::expect_refused([&] { load_voice(run("r") / "checkpoints/step-60.safetensors"); }, Exit::bad_data,
                                   "is the checkpoint of a training", "voice.safetensors");
  const auto samples = std::distance(std::filesystem::directory_iterator(run("r") / "samples"), {});
  for (const auto* tag : {"log_det/flows_0_conv1x1", "log_det/flows_1_coupling", "hum_db/0"}) {
    EXPECT_TRUE(std::isfinite(last_of(run("r"), tag))) << tag;
  }
  EXPECT_NE(last_of(run("r"), "validation_nats_per_sample"), last_of(run("r"), "validation_nats_per_sample_raw"));
  EXPECT_EQ(samples, 2 * 2 * 5);  // a sound and a picture of each of two recordings, every twelfth of sixty steps
}

TEST_F(TrainTest, AccumulatedBatchesEqualOneLargeBatch) {
  for (const auto& [name, size, parts] : {std::tuple{"large", 4, 1}, std::tuple{"parts", 2, 2}}) {
    const auto config = small_config({"steps=6", "sample_every=0", "log_every=1", "checkpoint_every=0", "epsilon=1e-4",
                                      "batch_size=" + std::to_string(size), "accumulate=" + std::to_string(parts)});
    Trainer trainer(config, corpus(config), run(name), false);
    train(trainer, 6);
  }
  const auto a = testing::tensors_of(run("large") / "checkpoints/step-6.safetensors");
  const auto b = testing::tensors_of(run("parts") / "checkpoints/step-6.safetensors");
  for (const auto& [name, tensor] : a) {
    EXPECT_LE((tensor - b.at(name)).abs().max().item<double>(), 1e-6 * (1e-3 + tensor.abs().max().item<double>()))
        << name;
  }
  EXPECT_NEAR(last_of(run("large"), "loss"), last_of(run("parts"), "loss"), 1e-6);
}

TEST_F(TrainTest, ValidationIsTheScoreOfWhatIsKeptOut) {
  const auto config = small_config({"steps=2", "sample_every=0"});
  Trainer trainer(config, corpus(config), run("r"), false);
  train(trainer);
  const auto voice = load_voice(run("r") / "voice.safetensors");
  const auto all = corpus(config);
  double sum = 0;
  for (const auto& clip : all->held_out()) {  // as long as each other
    const auto batch = whole_clip(*clip, *all);
    sum += score(*voice.model, batch.x, batch.mel).nats_per_sample;
  }
  EXPECT_NEAR(trainer.validate(), sum / static_cast<double>(all->held_out().size()), 1e-4);
}

TEST_F(TrainTest, ABlockVoicesCurvesAreThePartsOfItsVolume) {
  const auto config = block_flow_config({"steps=2", "hold_out_every=3", "validation_every=2", "ema=0"});
  const auto all = corpus(config);
  Trainer trainer(config, all, run("r"), false);
  const auto batch = whole_clip(*all->held_out().front(), *all);
  const auto untrained = trainer.model().volumes(batch.x, batch.mel);  // whose network says nothing yet
  EXPECT_NEAR(untrained.at(1).second, 0, 1e-5);
  EXPECT_GT(untrained.at(0).second, 1);  // a division by what is less than 1
  train(trainer);
  const auto voice = load_voice(run("r") / "voice.safetensors");
  const auto group = static_cast<double>(voice.model->group_size());
  double sum = 0;
  for (const auto& [name, value] : voice.model->volumes(batch.x, batch.mel)) {
    EXPECT_TRUE(std::isfinite(last_of(run("r"), "log_det/" + name))) << name;
    sum += value;
  }
  EXPECT_NEAR(sum, voice.model->forward(batch.x, batch.mel).local.mean().item<double>() / group, 1e-5);
}

/// What a model says before it has heard its past teaches it nothing.
TEST_F(TrainTest, TheLossIsThatBehindTheWarmUp) {
  const auto config = block_flow_config({"steps=1", "hold_out_every=0", "validation_every=0", "log_every=1"});
  Trainer trainer(config, corpus(config), run("r"), false);
  auto& vocoder = trainer.model();
  vocoder.train();
  ASSERT_GT(vocoder.warmup_frames(), 0);
  const auto data = batch_of(training_feed(corpus(config), config, vocoder.warmup_frames(),
                                           vocoder.reach().lookahead_frames, /*rank=*/0, /*ranks=*/1)
                                 ->take(0));
  torch::Tensor nats;
  {
    torch::NoGradGuard no_grad;
    vocoder.seed_training_noise(data.seeds);
    nats = nats_by_group(vocoder.forward(data.x, data.mel), vocoder.group_size());
  }
  const auto warmup = vocoder.warmup_frames() * vocoder.hop_length() / vocoder.group_size();
  const double expected = nats.slice(1, warmup).mean().item<double>(), with_it = nats.mean().item<double>();
  ASSERT_GT(std::abs(expected - with_it), 1e-2);
  train(trainer);
  EXPECT_NEAR(last_of(run("r"), "loss"), expected, 1e-3);
}

TEST_F(TrainTest, HearsChangedCropsWhereItIsTold) {
  const auto crops = [&](const std::vector<std::string>& sets) {
    const auto config = block_flow_config(sets);
    return training_feed(corpus(config), config, 2, 2, /*rank=*/0, /*ranks=*/1)->take(0).x;
  };
  const auto plain = crops({});
  EXPECT_EQ(crops({"augment=1"}), plain);
  for (const char* change : {"augment_speed=0.2", "augment_gain_db=6", "augment_equaliser_db=3", "augment_noise=1"}) {
    EXPECT_NE(crops({"augment=1", change}), plain) << change;
    EXPECT_EQ(crops({"augment=0", change}), plain) << change;
  }
}

TEST_F(TrainTest, NarrowProductsAndFoundInputsTrainTheSameModel) {
  std::map<std::string, double> loss;
  for (const auto* sets : {"precision=fp32", "precision=bf16", "reversible=true"}) {
    const auto config = small_config({"steps=30", "sample_every=0", "learning_rate=3e-3", "log_every=30", sets});
    Trainer trainer(config, corpus(config), run(sets), false);
    train(trainer, 30);
    loss[sets] = last_of(run(sets), "validation_nats_per_sample_raw");
    for (const auto& p : trainer.model().parameters()) EXPECT_EQ(p.scalar_type(), torch::kFloat32);
  }
  EXPECT_NE(loss["precision=bf16"], loss["precision=fp32"]);
  EXPECT_NEAR(loss["precision=bf16"], loss["precision=fp32"], 0.02);
  EXPECT_NEAR(loss["reversible=true"], loss["precision=fp32"], 1e-3);
  const auto block = parse_train_config({{"model", {{"system", "block_flow"}}}}, {"reversible=true"}, "test");
  EXPECT_THROW(Trainer(block, corpus(block), run("block"), false), Error);
}

TEST_F(TrainTest, RatesFollowTheirSchedule) {
  const auto rates = [&](const std::string& name, std::vector<std::string> sets) {
    for (const auto* more : {"log_every=1", "sample_every=0", "checkpoint_every=0"}) sets.emplace_back(more);
    const auto config = small_config(sets);
    Trainer trainer(config, corpus(config), run(name), false);
    train(trainer, config.steps);
    std::vector<double> out;
    for (const auto& line : curves(run(name))) {
      const auto json = nlohmann::json::parse(line);
      if (json.contains("learning_rate")) out.push_back(json["learning_rate"]);
    }
    return out;
  };
  // Two steps of warm-up, a plateau, then half a cosine over the last eight.
  const auto cosine = rates("cosine", {"schedule=cosine", "decay_steps=8", "final_learning_rate=2e-4"});
  EXPECT_DOUBLE_EQ(cosine[0], 5e-4);
  EXPECT_DOUBLE_EQ(cosine[1], 1e-3);
  EXPECT_DOUBLE_EQ(cosine[4], 1e-3);
  EXPECT_NEAR(cosine[8], 6e-4, 1e-12);
  EXPECT_NEAR(cosine[11], 2e-4 + 4e-4 * (1 - std::cos(M_PI / 8)), 1e-12);
  // Nothing is learned at such a rate, so that it falls again and again.
  const auto plateau = rates("plateau", {"schedule=plateau", "plateau_patience=2", "learning_rate=1e-12",
                                         "validation_every=1", "warmup_steps=0"});
  for (size_t i = 1; i < plateau.size(); ++i) {
    EXPECT_TRUE(plateau[i] == plateau[i - 1] || plateau[i] == plateau[i - 1] / 2);
  }
  EXPECT_LE(plateau.back(), 1e-12 / 4);
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
    testing::expect_refused([&] { trainer.start_from(voice); }, Exit::config, part);
  }
}

TEST_F(TrainTest, SamplesOfLongAndOfEqualNamesAreAllThere) {
  std::string name = "ab";
  while (name.size() < 240) name += "ü";
  for (const char* folder : {"x", "y"}) {
    std::filesystem::create_directories(run(folder));
    for (const auto& file : {name + ".wav", std::string("z.wav")}) write(run(folder) / file, tone(0.9));
  }
  auto config = small_config({"steps=1", "sample_every=1", "hold_out_every=2", "validation_every=0"});
  const auto two = load_corpus({run("x"), run("y")}, config, [](const std::string& line) { ADD_FAILURE() << line; });
  Trainer trainer(config, two, run("r"), false);
  train(trainer);
  size_t sounds = 0;
  for (const auto& file : std::filesystem::directory_iterator(run("r") / "samples")) {
    sounds += file.path().extension() == ".wav";
    EXPECT_TRUE(nlohmann::json(file.path().string()).dump(-1, ' ', false).size() > 0);  // throws for half a letter
  }
  EXPECT_EQ(sounds, 2u);
}

TEST_F(TrainTest, WeightsThatAreNoneAreNotSaved) {
  auto config = small_config({"sample_every=0", "validation_every=0", "bad_steps_in_a_row=100"});
  Trainer trainer(config, corpus(config), run("r"), false);
  train(trainer, 6);
  {
    torch::NoGradGuard no_grad;
    trainer.model().parameters().front().fill_(std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_THROW(train(trainer), Error);
  EXPECT_FALSE(std::filesystem::exists(run("r") / "checkpoints/step-12.safetensors"));
  EXPECT_EQ(Trainer(config, corpus(config), run("r"), true).step(), 6);
  EXPECT_NO_THROW(load_voice(run("r") / "voice.safetensors"));
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

}  // namespace
}  // namespace melflow::engine
