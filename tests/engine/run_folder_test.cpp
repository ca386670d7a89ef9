// A run that is ended, killed, gone on with or in the way.

#include <sys/wait.h>

#include <csignal>

#include "base/error.h"
#include "tests/engine/train_fixture.h"

namespace melflow::engine {
namespace {

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
  const auto a = testing::tensors_of(run("straight") / "checkpoints/step-12.safetensors");
  const auto b = testing::tensors_of(run("killed") / "checkpoints/step-12.safetensors");
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
    const auto a = testing::tensors_of(run(system + "_straight") / "checkpoints/step-12.safetensors");
    const auto b = testing::tensors_of(run(system + "_cut") / "checkpoints/step-12.safetensors");
    ASSERT_EQ(a.size(), b.size());
    for (const auto& [name, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(name))) << system << " " << name;
    EXPECT_EQ(curves(run(system + "_straight")), curves(run(system + "_cut")));
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

}  // namespace
}  // namespace melflow::engine
