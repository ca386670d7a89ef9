// Several processes that train one model, as a launcher starts them.

#include <cmath>
#include <cstdlib>

#include "engine/files/safetensors.h"
#include "tests/support/free_port.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

namespace fs = std::filesystem;
using melflow::testing::free_port;
using melflow::testing::Program;
using melflow::testing::Result;

/// Where Gloo's headers were missing when the program was built, it says so.
bool built_without(const Result& result) { return result.code == 69; }

class ManyProcesses : public melflow::testing::CliFixture {
 protected:
  void SetUp() override {
    fs::create_directory(path("data"));
    for (const char* name : {"a.wav", "b.wav", "c.wav"}) fs::copy_file(clip_, folder_ / "data" / name);
  }

  std::vector<std::string> train(const std::string& out, int steps, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"train", "--data", path("data"), "--out", path(out), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    for (const char* set : {"model.n_flows=2", "model.wavenet_layers=2", "model.wavenet_channels=4", "batch_size=2",
                            "segment_frames=4", "sample_every=0", "validation_every=0", "checkpoint_every=4"}) {
      words.insert(words.end(), {"--set", set});
    }
    words.insert(words.end(), {"--set", "steps=" + std::to_string(steps)});
    return words;
  }

  /// Starts them with the environment that a launcher would give, which calls the number of processes `size` and the
  /// place of each `rank`.
  std::vector<pid_t> start(int count, const std::vector<std::string>& words, const char* size = "WORLD_SIZE",
                           const char* rank_name = "RANK") {
    return start_each(std::vector(static_cast<size_t>(count), words), size, rank_name);
  }
  std::vector<pid_t> start_each(const std::vector<std::vector<std::string>>& words, const char* size = "WORLD_SIZE",
                                const char* rank_name = "RANK") {
    ::setenv(size, std::to_string(words.size()).c_str(), 1);
    ::setenv("MASTER_ADDR", "127.0.0.1", 1);
    ::setenv("MASTER_PORT", std::to_string(free_port()).c_str(), 1);
    std::vector<pid_t> children;
    for (size_t rank = 0; rank < words.size(); ++rank) {
      const auto place = folder_ / ("rank" + std::to_string(rank));
      fs::create_directories(place);
      ::setenv(rank_name, std::to_string(rank).c_str(), 1);
      programs_.emplace_back(place);
      children.push_back(programs_.back().start(words[rank]));
    }
    for (const char* name : {size, "MASTER_ADDR", "MASTER_PORT", rank_name}) ::unsetenv(name);
    return children;
  }
  Result wait(size_t rank, pid_t child) const { return programs_[programs_.size() - 2 + rank].wait(child); }

  /// The largest difference between two runs' weights after so many steps.
  double difference(const std::string& a, const std::string& b, int step) const {
    const auto name = "/checkpoints/step-" + std::to_string(step) + ".safetensors";
    const files::SafetensorsFile first(path(a) + name), second(path(b) + name);
    double worst = 0;
    for (const auto& [key, tensor] : first.tensors()) {
      const auto& other = second.tensors().at(key);
      const auto* x = reinterpret_cast<const float*>(tensor.bytes.data());
      const auto* y = reinterpret_cast<const float*>(other.bytes.data());
      for (size_t i = 0; key.rfind("model.", 0) == 0 && i < tensor.bytes.size() / sizeof(float); ++i) {
        worst = std::max<double>(worst, std::abs(x[i] - y[i]));
      }
    }
    return worst;
  }

  std::vector<Program> programs_;
};

TEST_F(ManyProcesses, TwoLearnWhatOneDoesAndOneGoesOnWhereTwoWere) {
  ASSERT_EQ(run(train("one", 8)).code, 0);
  const auto children = start(2, train("two", 4));
  for (size_t rank = 0; rank < 2; ++rank) {
    const auto result = wait(rank, children[rank]);
    if (built_without(result)) GTEST_SKIP() << result.err;
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err.find("voice in") != std::string::npos, rank == 0) << result.err;  // one speaks for all
  }
  EXPECT_LE(difference("one", "two", 4), 1e-6);
  ASSERT_EQ(run(train("two", 8, {"--resume"})).code, 0);
  EXPECT_LE(difference("one", "two", 8), 1e-6);
}

TEST_F(ManyProcesses, AJobThatSlurmRequeuesGoesOnByTheSameCommand) {
  ASSERT_EQ(run(train("one", 8)).code, 0);
  ::setenv("SLURM_JOB_ID", "7", 1);
  for (int round = 0; round < 2; ++round) {
    ::setenv("SLURM_RESTART_COUNT", std::to_string(round).c_str(), 1);
    const auto children = start(2, train("tasks", 4 * (round + 1)), "SLURM_NTASKS", "SLURM_PROCID");
    ::unsetenv("SLURM_RESTART_COUNT");
    for (size_t rank = 0; rank < 2; ++rank) {
      const auto result = wait(rank, children[rank]);
      if (built_without(result)) GTEST_SKIP() << result.err;
      EXPECT_EQ(result.code, 0) << result.err;
    }
  }
  EXPECT_LE(difference("one", "tasks", 8), 1e-6);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);  // one process, too
  const auto alone = run(train("tasks", 12));
  ::unsetenv("SLURM_RESTART_COUNT");
  EXPECT_EQ(alone.code, 0) << alone.err;
  EXPECT_NE(alone.err.find("going on at step 8"), std::string::npos) << alone.err;
  ::setenv("SLURM_JOB_ID", "8", 1);  // another job was refused at first, and is so when it is started again
  ::setenv("SLURM_RESTART_COUNT", "1", 1);
  EXPECT_EQ(run(train("tasks", 16)).code, 73);
  ::unsetenv("SLURM_RESTART_COUNT");
  ::unsetenv("SLURM_JOB_ID");
}

TEST_F(ManyProcesses, WhatIsNotTheSameForAllIsTold) {
  fs::create_directory(path("more"));
  for (const char* name : {"a.wav", "d.wav"}) fs::copy_file(clip_, folder_ / "more" / name);
  const std::pair<std::vector<std::string>, const char*> others[] = {
      {{"--set", "learning_rate=0.1"}, "different configurations"}, {{"--data", path("more")}, "different recordings"}};
  for (const auto& [more, what] : others) {
    auto other = train("r", 4);
    other.insert(other.end(), more.begin(), more.end());
    const auto children = start_each({train("r", 4), other});
    for (size_t rank = 0; rank < 2; ++rank) {
      const auto result = wait(rank, children[rank]);
      if (built_without(result)) GTEST_SKIP() << result.err;
      EXPECT_EQ(result.code, 65) << result.err;
      EXPECT_NE(result.err.find(what), std::string::npos) << result.err;
    }
  }
}

TEST_F(ManyProcesses, ASignalToAnyStopsAllAndNoneSaysDone) {
  const auto children = start(2, train("two", 1'000'000));
  const auto checkpoint = path("two") + "/checkpoints/step-4.safetensors";
  for (int i = 0; i < 600 && !fs::exists(checkpoint); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ::kill(children[1], SIGTERM);
  for (size_t rank = 0; rank < 2; ++rank) {
    const auto result = wait(rank, children[rank]);
    if (built_without(result)) GTEST_SKIP() << result.err;
    EXPECT_EQ(result.code, 143) << result.err;
    EXPECT_EQ(result.err.find("done at step"), std::string::npos) << result.err;
  }
}

TEST_F(ManyProcesses, OneThatIsKilledEndsTheOtherWithAWord) {
  const auto children = start(2, train("two", 1'000'000));
  const auto checkpoint = path("two") + "/checkpoints/step-4.safetensors";
  for (int i = 0; i < 600 && !fs::exists(checkpoint); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ::kill(children[1], SIGKILL);
  wait(1, children[1]);
  const auto left = wait(0, children[0]);
  if (built_without(left)) GTEST_SKIP() << left.err;
  EXPECT_EQ(left.code, 74) << left.err;
  EXPECT_NE(left.err.find("process 0 of 2: another process of this training has gone"), std::string::npos) << left.err;
}

TEST_F(ManyProcesses, NobodyListensOnANetworkUnlessTold) {
  ::setenv("WORLD_SIZE", "2", 1);
  ::setenv("RANK", "0", 1);
  ::setenv("MASTER_PORT", "29500", 1);
  ::setenv("MASTER_ADDR", "192.0.2.1", 1);
  const auto open = run(train("x", 4));
  ::unsetenv("MASTER_ADDR");
  const auto nowhere = run(train("x", 4));
  for (const char* name : {"WORLD_SIZE", "RANK", "MASTER_PORT"}) ::unsetenv(name);
  EXPECT_EQ(open.code, 64);
  EXPECT_NE(open.err.find("--network"), std::string::npos) << open.err;
  EXPECT_EQ(nowhere.code, 64);
  EXPECT_NE(nowhere.err.find("MASTER_ADDR"), std::string::npos) << nowhere.err;
}

TEST_F(ManyProcesses, OnGpusWhereThereAreNoneEndInALine) {
  const auto children = start(2, train("x", 4, {"--device", "cuda"}));
  for (size_t rank = 0; rank < 2; ++rank) {
    const auto result = wait(rank, children[rank]);
    if (result.code == 0) GTEST_SKIP() << "there are";
    EXPECT_TRUE(result.code == 69 || result.code == 64) << result.code;  // 64: the machine has one
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_NE(result.err.find("--device cuda"), std::string::npos) << result.err;
  }
}

}  // namespace
}  // namespace melflow
