// Several processes with a device each learn what one learns on the CPU. A test starts its processes as itself, again.

#include <spawn.h>
#include <sys/wait.h>

#include "engine/train/nccl.h"
#include "tests/devices/places.h"
#include "tests/devices/played_sums.h"
#include "tests/devices/small_training.h"
#include "tests/support/free_port.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using melflow::testing::expect_refused;
using melflow::testing::expect_same_weights;
using melflow::testing::free_port;
using melflow::testing::kPlaces;
using melflow::testing::Place;
using melflow::testing::small_corpus;
using melflow::testing::small_training;
using melflow::testing::TempDir;
using melflow::testing::train;

constexpr char kFolder[] = "MELFLOW_PROCESSES_TEST";  ///< set where this is one of those that a test has started

class ProcessesElsewhere : public ::testing::TestWithParam<Place> {
 protected:
  static std::vector<nlohmann::json> models() {
    return {
        {{"system", "waveglow"}, {"n_flows", 2}, {"wavenet_layers", 2}, {"wavenet_channels", 8}},
        {{"system", "block_flow"}, {"hidden", 16}, {"layers", 1}, {"encoder_channels", 16}, {"context_noise", 0.1}}};
  }

  /// This test in `count` processes; their exit codes.
  static std::vector<int> start(int count, const fs::path& folder) {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    const auto filter = std::string("--gtest_filter=") + info->test_suite_name() + "." + info->name();
    std::vector<std::pair<std::string, std::string>> variables{{kFolder, folder.string()},
                                                               {"WORLD_SIZE", std::to_string(count)},
                                                               {"MASTER_ADDR", "127.0.0.1"},
                                                               {"MASTER_PORT", std::to_string(free_port())}};
    std::vector<pid_t> children(static_cast<size_t>(count));
    for (int rank = 0; rank < count; ++rank) {
      auto environment = variables;
      environment.emplace_back("RANK", std::to_string(rank));
      std::vector<std::string> words;
      for (const auto& [name, value] : environment) words.push_back(name + "=" + value);
      std::vector<char*> pointers, arguments{const_cast<char*>("test"), const_cast<char*>(filter.c_str()), nullptr};
      for (auto& word : words) pointers.push_back(word.data());
      for (char** entry = environ; *entry != nullptr; ++entry) pointers.push_back(*entry);
      pointers.push_back(nullptr);
      EXPECT_EQ(::posix_spawn(&children[static_cast<size_t>(rank)], "/proc/self/exe", nullptr, nullptr,
                              arguments.data(), pointers.data()),
                0);
    }
    std::vector<int> codes;
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return codes;
  }

  /// What a process does that was started: its part of each training. Where the second leaves it, the first must say
  /// so.
  void take_part(const fs::path& folder, bool second_goes = false) {
    auto place = process_place();
    if (!place) {  // of size 1
      place = ProcessPlace{.local_rank = 0, .address = "127.0.0.1"};
      place->port = static_cast<uint16_t>(std::stoi(std::getenv("MASTER_PORT")));
    }
    OPEN_OR_SKIP(device, GetParam(), place->local_rank);
    Processes processes(*place, "", GetParam() == Place::played ? melflow::testing::played_sums() : nccl_sums());
    for (const auto& model : models()) {
      const auto c = small_training(model);
      Trainer trainer(c, small_corpus(folder / "data", c), folder / model["system"], false, &processes, device);
      if (!second_goes) {
        train(trainer, 4);
        continue;
      }
      int asked = 0;
      const auto stop = [&] {
        if (processes.rank() == 1 && ++asked == 3) ::_exit(0);
        return false;
      };
      expect_refused([&] { trainer.run(stop, [](const Progress&) {}); }, Exit::io_error,
                     "another process of this training has gone");
      return;
    }
    processes.leave();
  }

  TempDir folder_;
};

TEST_P(ProcessesElsewhere, LearnWhatOneDoesOnTheCpu) {
  if (const char* folder = std::getenv(kFolder)) return take_part(folder);
  OPEN_OR_SKIP(device, GetParam());
  const int count = device.is_cuda() ? std::min(2, static_cast<int>(torch::cuda::device_count())) : 2;
  fs::create_directory(folder_ / "many");
  for (const auto& model : models()) {
    const auto c = small_training(model);
    Trainer one(c, small_corpus(folder_ / "many" / "data", c), folder_ / model["system"], false);
    train(one, 4);
  }
  EXPECT_EQ(start(count, folder_ / "many"), std::vector<int>(static_cast<size_t>(count), 0));
  for (const auto& model : models()) {
    expect_same_weights(folder_ / "many" / model["system"] / "voice.safetensors",
                        folder_ / model["system"] / "voice.safetensors");
  }
}

TEST_P(ProcessesElsewhere, OneThatGoesEndsTheOther) {
  if (const char* folder = std::getenv(kFolder)) return take_part(folder, true);
  OPEN_OR_SKIP(device, GetParam());
  if (device.is_cuda() && torch::cuda::device_count() < 2) GTEST_SKIP() << "two processes need two GPUs";
  const auto c = small_training(models().front());
  small_corpus(folder_ / "data", c);
  EXPECT_EQ(start(2, folder_.path()), std::vector<int>({0, 0}));
}

INSTANTIATE_TEST_SUITE_P(All, ProcessesElsewhere, ::testing::ValuesIn(kPlaces), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace melflow::engine
