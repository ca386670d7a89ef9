// Several inputs to one verb: worked on side by side, told in their order.
#include "tools/cli/batch.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::text_of;
using nlohmann::json;
using tools::for_each_item;

/// The inputs of the lines, in their order.
std::vector<std::string> inputs_of(const std::string& lines) {
  std::vector<std::string> inputs;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) inputs.push_back(json::parse(line).at("input"));
  return inputs;
}

TEST(Batch, TellsWhatIsDoneFirstInItsPlace) {
  std::mutex mutex;
  std::condition_variable changed;
  int done = 0;
  const auto work = [&](const std::string& input) -> json {
    std::unique_lock lock(mutex);
    // The first waits for two others, which only another thread can do.
    if (input == "a") changed.wait(lock, [&] { return done >= 2; });
    ++done;
    changed.notify_all();
    if (input == "b") throw Error(Exit::bad_data, "b: is wrong");
    return {{"input", input}};
  };
  std::ostringstream lines;
  EXPECT_EQ(for_each_item({"a", "b", "c", "d"}, &lines, work, 2), static_cast<int>(Exit::some_failed));
  EXPECT_EQ(inputs_of(lines.str()), (std::vector<std::string>{"a", "b", "c", "d"}));
}

TEST(Batch, ADiskThatIsGoneEndsTheRest) {
  for (const int at_once : {1, 3}) {
    std::atomic<int> begun{0};
    const auto work = [&](const std::string& input) -> json {
      ++begun;
      throw Error(Exit::io_error, input + ": cannot be written");
    };
    std::ostringstream lines;
    EXPECT_EQ(for_each_item(std::vector<std::string>(50, "x"), &lines, work, at_once),
              static_cast<int>(Exit::io_error));
    EXPECT_LE(begun, at_once);
  }
}

using Batches = melflow::testing::CliFixture;

TEST_F(Batches, MakeTheSameMelsAndSoundsOnAnyNumberOfThreads) {
  std::vector<std::string> recordings;
  for (int i = 0; i < 5; ++i) {
    recordings.push_back(path("r" + std::to_string(i) + ".wav"));
    std::filesystem::copy_file(clip_, recordings.back());
  }
  std::ofstream(recordings[2], std::ios::binary) << "no sound";
  for (const std::string threads : {"1", "3"}) {
    const auto made = [&](std::vector<std::string> words, const std::string& folder) {
      words.insert(words.begin() + 1, recordings.begin(), recordings.end());
      words.insert(words.end(), {"-d", path(folder + threads), "--threads", threads, "--json"});
      const auto result = run(words);
      EXPECT_EQ(result.code, 1) << result.err;
      EXPECT_EQ(inputs_of(result.out), recordings);
    };
    made({"mel"}, "mels");
    made({"synth", "--voice", "universal", "--refine", "0"}, "sounds");
  }
  for (const int i : {0, 1, 3, 4}) {
    const auto name = "/r" + std::to_string(i);
    EXPECT_EQ(text_of(path("mels1" + name + ".npy")), text_of(path("mels3" + name + ".npy")));
    EXPECT_EQ(text_of(path("sounds1" + name + ".wav")), text_of(path("sounds3" + name + ".wav")));
  }
}

}  // namespace
}  // namespace melflow
