// melflow bench: one schema, and nothing reported of a machine that was not quiet.
#include <algorithm>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

using nlohmann::json;

class Bench : public melflow::testing::CliFixture {
 protected:
  /// The lines of a bench, each with all parts, or with the reason why it has only some.
  std::vector<json> lines(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    arguments.emplace_back("--json");
    const auto result = run(arguments);
    std::istringstream text(result.out);
    std::vector<json> out;
    for (std::string line; std::getline(text, line);) {
      out.push_back(json::parse(line));
      for (const char* key : {"bench", "case", "peak", "machine", "commit"})
        EXPECT_TRUE(out.back().contains(key)) << line;
      const auto& looks = out.back()["peak"]["giga_operations"];
      EXPECT_GT(looks["before"].get<double>(), 0);
      EXPECT_GT(looks["after"].get<double>(), 0);
      for (const char* key : {"subject", "rival", "error"}) {
        EXPECT_NE(out.back().contains(key), out.back().contains("not_reported")) << line;
      }
    }
    const bool all = std::ranges::none_of(out, [](const json& line) { return line.contains("not_reported"); });
    EXPECT_EQ(result.code, all ? 0 : 1) << result.err;
    return out;
  }
  static void expect_ordered(const json& times) {
    EXPECT_GT(times["min"].get<double>(), 0);
    EXPECT_GE(times["median"].get<double>(), times["min"].get<double>());
    EXPECT_GE(times["p99"].get<double>(), times["median"].get<double>());
  }
};

TEST_F(Bench, StreamMeasuresTheStartAndEveryChunk) {
  const auto all = lines({"stream", "--seconds", "1"});
  ASSERT_EQ(all.size(), 5u);
  EXPECT_TRUE(all[0]["case"].contains("start"));
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_TRUE(all[i]["case"].contains("frames_a_chunk"));
    if (all[i].contains("not_reported")) continue;
    EXPECT_EQ(all[i]["error"]["value"], 0.0);
    expect_ordered(all[i]["subject"]["chunk_ms"]);
    expect_ordered(all[i]["subject"]["seconds"]);
    expect_ordered(all[i]["rival"]["seconds"]);
    const double in_real_time = 1 / all[i]["subject"]["seconds"]["median"].get<double>();  // of a second of sound
    EXPECT_NEAR(all[i]["subject"]["streams_in_real_time"].get<double>(), in_real_time, 1 + 0.05 * in_real_time);
  }
}

TEST_F(Bench, GrowthSaysWhatASecondOfSoundCosts) {
  const auto all = lines({"growth", "--voice", "kathleen", "--seconds", "0.5", "--threads", "1"});
  ASSERT_EQ(all.size(), 5u);  // 1, 2, 4, 8 and 16 streams
  for (const auto& line : all) {
    if (line.contains("not_reported")) continue;
    EXPECT_EQ(line["error"]["value"], 0.0);
    const double sound = line["case"]["streams"].get<double>() * line["case"]["seconds_of_sound"].get<double>();
    const double cost = line["subject"]["seconds"]["median"].get<double>() / sound;
    EXPECT_NEAR(line["subject"]["computing_for_a_second_of_sound"].get<double>(), cost, 0.05 * cost);
  }
}

TEST_F(Bench, WhatCannotBeMeasuredIsToldFirst) {
  for (const auto& [words, said] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--precision", "int8"}, "WaveGlow kind"},
           {{"growth", "--picture", path("g.jpg")}, ".png"},
           {{"growth", "--picture", path("g.png"), "--seconds", "1"}, "--seconds 3"}}) {
    auto arguments = words;
    arguments.insert(arguments.begin(), "bench");
    const auto result = run(arguments);
    EXPECT_EQ(result.code, 64) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(said), std::string::npos) << result.err;
  }
}

TEST_F(Bench, ASignalLeavesNothing) {
  std::filesystem::create_directory(path("tmp"));
  const auto command = "TMPDIR='" + path("tmp") + "' timeout --foreground -k 60 -s INT 5 " + MELFLOW_PROGRAM +
                       " bench train --steps 100000" + " --voice kathleen --threads 1 >" + path("out") + " 2>&1";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 124);
  EXPECT_NE(melflow::testing::text_of(path("out")).find("stopping when this step is done"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(path("tmp")));
}

TEST_F(Bench, TrainTakesTheTrainersOwnSteps) {
  const auto all = lines({"train", "--voice", "kathleen", "--batch", "1", "--frames", "4", "--steps", "2"});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["case"]["samples_a_crop"], 4 * 256);
  if (all[0].contains("not_reported")) return;
  expect_ordered(all[0]["subject"]["seconds"]);
  EXPECT_EQ(all[0]["subject"]["losses"].size(), 5u);  // three that warm up, and two
  EXPECT_GT(all[0]["subject"]["samples_per_second"].get<double>(), 0);
  EXPECT_LT(all[0]["error"]["value"].get<double>(), 0.1);  // of a trained voice in float32
}

}  // namespace
}  // namespace melflow
