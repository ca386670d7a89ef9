// `melflow flow` as a user meets it: train, eval, sample, plot.

#include <cmath>
#include <fstream>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "tests/tools/flow_cli_fixture.h"

namespace melflow {
namespace {

using melflow::testing::FlowCli;
using melflow::testing::text_of;
using nlohmann::json;

TEST_F(FlowCli, TrainEvalSamplePlot) {
  const auto trained = run(training("two_moons", {"--flow", "maf", "--set", "steps=40", "--set", "model.hidden=16"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.out, "");
  const auto eval = run({"eval", "--flow", flow(), "--data", "two_moons", "--count", "2000", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  const auto score = json::parse(eval.out);
  EXPECT_EQ(score["items"], 2000);
  EXPECT_GT(score["gap"].get<double>(), 0);
  EXPECT_NEAR(score["nats"].get<double>() + score["gap"].get<double>(), -score["entropy"].get<double>(), 0.1);

  ASSERT_EQ(run({"sample", "--flow", flow(), "-n", "20", "-o", path("x.npy")}).code, 0);
  const auto x = files::read_npy(path("x.npy"));
  EXPECT_EQ(x.shape, (std::vector<int64_t>{20, 2}));
  const auto piped = run({"sample", "--flow", flow(), "-n", "20", "-o", "-"});
  EXPECT_EQ(piped.out, text_of(path("x.npy")));
  EXPECT_EQ(run({"sample", "--flow", flow(), "-o", path("x.npy")}).code, 73);  // nothing is overwritten

  const std::vector<std::string> bench{"bench", "--flow", flow(), "--batch", "2", "--seconds", "0.01"};
  const auto table = run(bench);
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("     2 at once: density "), std::string::npos) << table.out;
  auto as_json = bench;
  as_json.push_back("--json");
  EXPECT_GT(json::parse(run(as_json).out)["density_items_per_second"].get<double>(), 0);

  for (const std::string kind : {"samples", "density", "grid"}) {
    ASSERT_EQ(run({"plot", "--kind", kind, "--flow", flow(), "--data", "two_moons", "-o", path(kind + ".png")}).code,
              0);
    EXPECT_EQ(text_of(path(kind + ".png")).substr(1, 3), "PNG");
  }
}

TEST_F(FlowCli, ImagesOfTwoClassesAndWhatLiesBetween) {
  std::ofstream table(path("images.csv"));
  for (int i = 0; i < 40; ++i) {
    table << i % 2;
    for (int p = 0; p < 16; ++p) table << ',' << (p / 8 == i % 2 ? 12 + (i + p) % 4 : (i * p) % 3);
    table << '\n';
  }
  table.close();
  const auto trained =
      run(training(path("images.csv"),
                   {"--flow", "glow", "--label-column", "first", "--conditional", "--set", "steps=3", "data.height=4",
                    "data.width=4", "batch_size=8", "model.pixel_levels=16", "model.levels=1", "model.steps=2"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  ASSERT_EQ(run({"sample", "--flow", flow(), "-n", "3", "-o", path("x.npy"), "--labels-output", path("l.npy")}).code,
            0);
  // A number is decimal, whatever it begins with.
  ASSERT_EQ(run({"sample", "--flow", flow(), "-n", "+010", "-o", path("ten.npy")}).code, 0);
  EXPECT_EQ(files::read_npy(path("ten.npy")).shape[0], 10);
  std::ofstream(path("precious.npy")) << "kept";
  EXPECT_EQ(run({"sample", "--flow", flow(), "-n", "3", "-o", path("nowhere/x.npy"), "--labels-output",
                 path("precious.npy"), "--force"})
                .code,
            73);
  EXPECT_EQ(text_of(path("precious.npy")), "kept");
  EXPECT_NE(text_of(path("l.npy")).find("'<i8'"), std::string::npos) << "no index for NumPy";
  EXPECT_EQ(files::read_npy(path("l.npy")).values, (std::vector<float>{0, 1, 0}));
  const std::vector<std::string> between{"plot",   "--kind",           "interpolation", "--flow", flow(),
                                         "--data", path("images.csv"), "--between",     "0",      "3",
                                         "-o",     path("way.png")};
  auto with_labels = between;
  with_labels.insert(with_labels.end(), {"--label-column", "first"});
  EXPECT_EQ(run(with_labels).code, 0);
  EXPECT_EQ(text_of(path("way.png")).substr(1, 3), "PNG");
  for (const size_t end : {8u, 9u}) {
    auto beyond = with_labels;
    beyond[end] = "100000";
    beyond[11] = path("beyond.png");
    const auto told = run(beyond);
    EXPECT_EQ(told.code, 64) << told.err;
    EXPECT_NE(told.err.find("no such item"), std::string::npos) << told.err;
  }
  std::ofstream unlabelled(path("unlabelled.csv"));
  for (int i = 0; i < 4; ++i) unlabelled << "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,0\n";
  unlabelled.close();
  auto without = between;
  without[6] = path("unlabelled.csv");
  without.back() = path("other.png");
  const auto refused = run(without);
  EXPECT_EQ(refused.code, 64);
  EXPECT_NE(refused.err.find("--labels"), std::string::npos) << refused.err;
}

TEST_F(FlowCli, ColumnsThatSinglePrecisionCannotTellAreTold) {
  std::ofstream table(path("times.csv"));
  for (int i = 0; i < 50; ++i)
    table << 1700000000 + i << ',' << 1700000000 + 1000 * i << ',' << 0.01 * (i * i % 17) << ',' << i << '\n';
  table.close();
  const auto trained = run(training(path("times.csv"), {"--flow", "maf", "--set", "steps=2", "model.hidden=8"}));
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("the same in every row, as single precision has it: column 1;"), std::string::npos)
      << trained.err;
  EXPECT_NE(trained.err.find("few values apart in column 2;"), std::string::npos) << trained.err;
  EXPECT_NE(trained.err.find("counts the rows: column 4;"), std::string::npos) << trained.err;
}

TEST_F(FlowCli, ARunStopsAndGoesOn) {
  const auto arguments = training("banana", {"--flow", "real_nvp", "--set", "steps=10"});
  ASSERT_EQ(run(arguments).code, 0);
  EXPECT_EQ(run(arguments).code, 73);
  const auto more = run({"train", "--out", path("run"), "--resume", "--set", "steps=20"});
  EXPECT_EQ(more.code, 0) << more.err;
  EXPECT_NE(more.err.find("going on at step 10"), std::string::npos) << more.err;
  EXPECT_EQ(more.err.find("other data than before"), std::string::npos) << more.err;
  const auto other = run(training("two_moons", {"--resume", "--set", "steps=30"}));
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_NE(other.err.find("on other data than before"), std::string::npos) << other.err;
  const auto iaf = run({"train", "--out", path("run"), "--resume", "--flow", "iaf"});
  EXPECT_EQ(iaf.code, 78) << iaf.err;
  EXPECT_NE(iaf.err.find("its model is a real_nvp and cannot go on as 'iaf'"), std::string::npos) << iaf.err;
}

TEST_F(FlowCli, WhatWasBestOfOtherDataIsForgotten) {
  std::ofstream narrow(path("narrow.csv")), wide(path("wide.csv"));
  std::mt19937 random(1);
  for (int i = 0; i < 400; ++i) {
    const auto a = random() * 0x1p-32, b = random() * 0x1p-32;
    narrow << 1e-3 * a << ',' << 1e-3 * b << '\n';
    wide << 100 * a << ',' << 50 * b << '\n';
  }
  narrow.close();
  wide.close();
  const std::vector<std::string> with{"--flow", "maf", "--set", "model.hidden=8", "validation_every=10", "steps=20"};
  ASSERT_EQ(run(training(path("narrow.csv"), with)).code, 0);
  const auto before = text_of(flow());
  const auto other = run(training(path("wide.csv"), {"--resume", "--set", "steps=60", "validation_every=10"}));
  EXPECT_EQ(other.code, 0) << other.err;
  EXPECT_NE(text_of(flow()), before) << "what was learned of the other data is not kept";
  // The narrow data's flow knows nothing of the wide one's scale.
  const auto far = run({"eval", "--flow", flow(), "--data", path("wide.csv"), "--json"});
  ASSERT_EQ(far.code, 0) << far.err;
  EXPECT_FALSE(json::parse(far.out).contains("not_finite"));
}

TEST_F(FlowCli, AnItemWithoutADensityIsCountedAndNamed) {
  ASSERT_EQ(run(training("banana", {"--flow", "real_nvp", "--set", "steps=2"})).code, 0);
  std::ofstream(path("far.csv")) << "0.1,0.2\n1e25,1\n0.3,0.1\n";
  const auto eval = run({"eval", "--flow", flow(), "--data", path("far.csv"), "--json"});
  EXPECT_EQ(eval.code, 1);
  EXPECT_EQ(json::parse(eval.out)["not_finite"], 1) << eval.out;
  EXPECT_NE(eval.err.find("1 of 3 items, item 2 the first"), std::string::npos) << eval.err;
}

TEST_F(FlowCli, EachItemsLikelihoodIsWrittenAndTheLeastIsNamed) {
  ASSERT_EQ(run(training("banana", {"--flow", "real_nvp", "--set", "steps=2"})).code, 0);
  std::ofstream(path("three.csv")) << "0.1,0.2\n5,-7\n0.3,0.1\n";
  const std::vector<std::string> eval{"eval",       "--flow",         flow(),  "--data", path("three.csv"),
                                      "--log-prob", path("each.npy"), "--json"};
  const auto first = run(eval);
  ASSERT_EQ(first.code, 0) << first.err;
  const auto each = files::read_npy(path("each.npy"));
  ASSERT_EQ(each.shape, std::vector<int64_t>{3});
  const auto told = json::parse(first.out);
  EXPECT_NEAR(told["nats"].get<double>(), (each.values[0] + each.values[1] + each.values[2]) / 3, 1e-5);
  EXPECT_EQ(told["least_index"], 1);
  EXPECT_FLOAT_EQ(told["least_nats"].get<float>(), each.values[1]);
  EXPECT_EQ(run(eval).code, 73) << "the file is there";
  const auto text = run({"eval", "--flow", flow(), "--data", path("three.csv")});
  EXPECT_NE(text.out.find("item 2 the least likely"), std::string::npos) << text.out;
  EXPECT_EQ(run({"eval", "--flow", flow(), "--data", "banana", "--log-prob", path("other.npy")}).code, 64);
  const int64_t shape[] = {3, 2};
  files::write_npy(path("rows.npy"), shape, std::vector<float>(6, 0.5f), AtomicFile::Existing::refuse);
  const auto rows = text_of(path("rows.npy"));
  const auto onto_itself =
      run({"eval", "--flow", flow(), "--data", path("rows.npy"), "--log-prob", path("rows.npy"), "--force"});
  EXPECT_EQ(onto_itself.code, 64);
  EXPECT_EQ(text_of(path("rows.npy")), rows);
}

TEST_F(FlowCli, TheCurveOfARunIsDrawnWhateverItsConfigurationLacks) {
  std::filesystem::create_directories(path("run"));
  std::ofstream(path("run/config.json")) << R"({"model": {"height": 4}})";
  std::ofstream(path("run/metrics.jsonl")) << "{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"loss\": 1}\n";
  const auto plot = run({"plot", "--kind", "training", "--run", path("run"), "-o", path("curve.png")});
  EXPECT_EQ(plot.code, 0) << plot.err;
}

TEST_F(FlowCli, EvalOfAVocoderIsItsScore) {
  const auto clip = testing::in_tree("data/golden/LJ001-0002.wav");
  std::filesystem::create_directories(path("data"));
  for (const char* name : {"a.wav", "b.wav", "c.wav"}) std::filesystem::copy_file(clip, path("data/") + name);
  const auto trained = program_.run({"train", "--data", path("data"), "--out", path("vocoder"), "--threads", "1",
                                     "--set", "model.system=waveglow", "model.n_flows=2", "model.wavenet_layers=2",
                                     "model.wavenet_channels=4", "batch_size=1", "segment_frames=4", "steps=3",
                                     "sample_every=0", "validation_every=0", "checkpoint_every=0"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto voice = path("vocoder/voice.safetensors");
  const auto score = program_.run({"score", "--voice", voice, clip.string(), "--json"});
  ASSERT_EQ(score.code, 0) << score.err;
  const auto eval = run({"eval", "--flow", voice, "--data", clip.string(), "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  const double nats = json::parse(score.out)["nats_per_sample"];
  EXPECT_NEAR(json::parse(eval.out)["nats_per_sample"].get<double>(), nats, 1e-5 * (1 + std::abs(nats)));
}

TEST_F(FlowCli, FewItemsAreSaidToBeFew) {
  std::ofstream(path("few.csv")) << "1,2\n3,5\n4,4\n";
  std::ofstream(path("one.csv")) << "1,2\n";
  const auto trained = run(training(path("few.csv"), {"--flow", "maf", "--set", "steps=2"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.err.find("too few items to keep some out"), std::string::npos) << trained.err;
  const auto eval = run({"eval", "--flow", flow(), "--data", path("one.csv"), "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_FALSE(json::parse(eval.out).contains("nats_standard_error")) << eval.out;
}

}  // namespace
}  // namespace melflow
