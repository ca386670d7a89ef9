// Several inputs to one verb: worked on side by side, told in their order.
#include "tools/cli/batch.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <sstream>
#include <thread>

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

TEST(Batch, ADiskThatIsGoneEndsTheRestAndIsTold) {
  const std::vector<std::string> inputs(200, "x");
  for (int round = 0; round < 300; ++round) {
    const int at_once = round % 2 == 0 ? 8 : 1;
    std::atomic<int> begun{0};
    const auto work = [&](const std::string& input) -> json {
      if (begun++ == 20) throw Error(Exit::io_error, input + ": cannot be written");
      return {{"input", input}};
    };
    std::ostringstream lines;
    ASSERT_EQ(for_each_item(inputs, &lines, work, at_once), static_cast<int>(Exit::io_error)) << round;
    EXPECT_NE(lines.str().find("cannot be written"), std::string::npos) << round;
    EXPECT_EQ(static_cast<int>(inputs_of(lines.str()).size()), begun) << round;
    if (at_once == 1) {
      EXPECT_EQ(begun, 21);
    }
  }
}

TEST(Batch, WhatOthersLeaveNoMemoryForIsDoneAlone) {
  std::atomic<int> at_work{0}, refused{0};
  const auto work = [&](const std::string& input) -> json {
    const int others = at_work++;
    for (int i = 0; others == 0 && refused == 0 && i < 1000; ++i)  // so that there are others
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    --at_work;
    if (others > 0 && ++refused % 2 == 0) throw std::bad_alloc();
    if (others > 0) throw Error(Exit::unavailable, input + ": no memory");
    return {{"input", input}};
  };
  std::ostringstream lines;
  EXPECT_EQ(for_each_item({"a", "b", "c", "d", "e", "f"}, &lines, work, 3), 0);
  EXPECT_EQ(inputs_of(lines.str()), (std::vector<std::string>{"a", "b", "c", "d", "e", "f"}));
  EXPECT_GT(refused, 0);
}

TEST(Batch, WhatCameFromStdinIsNotAskedForAgain) {
  std::atomic<int> asked{0};
  const auto work = [&](const std::string& input) -> json {
    if (input != "-") return {{"input", input}};
    ++asked;
    throw Error(Exit::unavailable, "stdin: no memory");
  };
  std::ostringstream lines;
  EXPECT_EQ(for_each_item({"-", "a", "b"}, &lines, work, 3), static_cast<int>(Exit::some_failed));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(inputs_of(lines.str()), (std::vector<std::string>{"-", "a", "b"}));
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

TEST_F(Batches, ADiskThatIsFullIsFullForAllInputs) {
  std::filesystem::copy_file(short_mel(), path("other.npy"));
  const auto full = std::string("ulimit -f 8; ") + MELFLOW_PROGRAM + " synth " + path("short.npy") + " " +
                    path("other.npy") + " --threads 1 --json -d " + path("out");
  EXPECT_EQ(WEXITSTATUS(std::system(("bash -c '" + full + "' 2>" + path("err") + " >" + path("json")).c_str())), 74);
  EXPECT_EQ(json::parse(text_of(path("json")))["exit_code"], 74);
  const auto told = text_of(path("err"));
  EXPECT_NE(told.find("short.wav"), std::string::npos) << told;
  EXPECT_EQ(told.find("other.wav"), std::string::npos) << told;
}

}  // namespace
}  // namespace melflow
