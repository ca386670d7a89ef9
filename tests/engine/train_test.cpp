#include <sys/wait.h>

#include <cmath>
#include <csignal>
#include <fstream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/wav.h"
#include "base/error.h"
#include "engine/noise.h"
#include "engine/train/trainer.h"
#include "tests/engine/reference.h"
#include "tests/files/bytes.h"

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

  static void train(Trainer& trainer, int64_t until = std::numeric_limits<int64_t>::max()) {
    trainer.run([&] { return trainer.step() >= until; }, [](const Progress&) {});
  }

 private:
  TempDir folder_;
};

/// The curves of a run without what a clock says, a line each.
std::vector<std::string> curves(const std::filesystem::path& run) {
  std::vector<std::string> out;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    auto json = nlohmann::json::parse(line);
    json.erase("samples_per_second");
    json.erase("data_wait");
    out.push_back(json.dump());
  }
  return out;
}

/// The last value of a curve.
double last_of(const std::filesystem::path& run, const std::string& tag) {
  double value = std::numeric_limits<double>::quiet_NaN();
  for (const auto& line : curves(run)) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains(tag)) value = json[tag];
  }
  return value;
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
  const auto a = tensors_of(run("large") / "checkpoints/step-6.safetensors");
  const auto b = tensors_of(run("parts") / "checkpoints/step-6.safetensors");
  for (const auto& [name, tensor] : a) {
    EXPECT_LE((tensor - b.at(name)).abs().max().item<double>(), 1e-6 * (1e-3 + tensor.abs().max().item<double>()))
        << name;
  }
  EXPECT_NEAR(last_of(run("large"), "loss"), last_of(run("parts"), "loss"), 1e-6);
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
  // The rate of the step to come: two of warm-up, a plateau, then half a cosine over the last eight.
  const auto cosine = rates("cosine", {"schedule=cosine", "decay_steps=8", "final_learning_rate=2e-4"});
  EXPECT_DOUBLE_EQ(cosine[0], 1e-3);
  EXPECT_DOUBLE_EQ(cosine[3], 1e-3);
  EXPECT_NEAR(cosine[7], 6e-4, 1e-12);
  EXPECT_DOUBLE_EQ(cosine[11], 2e-4);
  // Nothing is learned at such a rate, so that it falls again and again.
  const auto plateau = rates("plateau", {"schedule=plateau", "plateau_patience=2", "learning_rate=1e-12",
                                         "validation_every=1", "warmup_steps=0"});
  for (size_t i = 1; i < plateau.size(); ++i) {
    EXPECT_TRUE(plateau[i] == plateau[i - 1] || plateau[i] == plateau[i - 1] / 2);
  }
  EXPECT_LE(plateau.back(), 1e-12 / 4);
}

TEST_F(TrainTest, KilledAndResumedEqualsUninterruptedBitForBit) {
  const auto config = small_config({"checkpoint_every=4", "log_every=3", "accumulate=2", "validation_every=5",
                                    "schedule=plateau", "plateau_patience=1", "reversible=true"});
  {
    Trainer straight(config, corpus(config), run("straight"), false);
    train(straight, 12);
  }
  for (const int64_t kill_at : {3, 7, 10}) {
    const pid_t child = fork();
    if (child == 0) {
      Trainer trainer(config, corpus(config), run("killed"), kill_at != 3);
      trainer.run([&] { return trainer.step() == kill_at && raise(SIGKILL) == 0; }, [](const Progress&) {});
      _exit(1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  Trainer rest(config, corpus(config), run("killed"), true);
  EXPECT_EQ(rest.step(), 8);
  train(rest, 12);
  const auto a = tensors_of(run("straight") / "checkpoints/step-12.safetensors");
  const auto b = tensors_of(run("killed") / "checkpoints/step-12.safetensors");
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << name;
  EXPECT_EQ(curves(run("straight")), curves(run("killed")));
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
    EXPECT_EQ(curves(run(system + "_straight")), curves(run(system + "_cut")));
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
  config.steps = 0;
  EXPECT_THROW(Trainer(config, corpus(config), run("r"), true), Error) << "fewer steps than it has made";
  for (const char* name : {"voice.safetensors", "config.json", "metrics.jsonl"}) {  // not even a part of one
    std::filesystem::create_directories(run(name));
    std::ofstream(run(name) / name) << "somebody's";
    EXPECT_THROW(Trainer(config, corpus(config), run(name), false), Error);
    EXPECT_EQ(testing::contents(run(name) / name), "somebody's");
  }
}

TEST_F(TrainTest, ARunThatDiedBeforeItsFirstCheckpointMayBeginAgain) {
  const auto config = small_config({"steps=1", "sample_every=0"});
  { Trainer trainer(config, corpus(config), run("r"), false); }
  for (const char* name : {"config.json", "metrics.jsonl"}) std::ofstream(run("r") / name) << "{}";
  EXPECT_NO_THROW(Trainer(config, corpus(config), run("r"), false));
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
