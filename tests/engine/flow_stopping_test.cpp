// When `flow train` stops by what is held out, and which flow it keeps.

#include <cmath>

#include "tests/engine/flow_fixture.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

TEST_F(FlowEngine, EarlyStoppingKeepsTheBest) {
  // Fifty rows and a large network: it learns them by heart, and the validation gets worse.
  std::ofstream(file("few.csv")) << [] {
    std::string text;
    auto random = generator(3);
    const auto x = torch::randn({60, 4}, random, torch::TensorOptions());
    for (int64_t i = 0; i < 60; ++i) {
      for (int64_t j = 0; j < 4; ++j) text += std::to_string(x[i][j].item<float>()) + (j < 3 ? "," : "\n");
    }
    return text;
  }();
  const auto c = config(file("few.csv"), {"model.system=maf", "steps=3000", "batch_size=50", "validation_every=10",
                                          "patience=5", "hold_out=0.2", "learning_rate=5e-3"});
  auto t = trainer(c, "r");
  train(t, 3000);
  EXPECT_TRUE(t.out_of_patience());
  EXPECT_LT(t.state().step, 3000);
  EXPECT_GT(t.validate(), t.state().best);
  // Going on with it changes nothing: it has ended.
  const auto step = t.state().step;
  auto again = trainer(c, "r", true);
  train(again, 3000);
  EXPECT_EQ(again.state().step, step);
}

/// A row so far away that single precision holds no density of it takes no training with it.
TEST_F(FlowEngine, AnItemWithoutADensityIsNoValidation) {
  std::ofstream(file("wild.csv")) << [] {
    std::string text;
    for (int i = 0; i < 200; ++i) text += std::to_string(i % 7 * 1e-3) + "," + std::to_string(i % 11 * 1e-3) + "\n";
    return text + "1e37,1e37\n";
  }();
  for (const char* closed : {"sampling", "density"}) {
    // The seeds are tried until the row is held out.
    for (int seed = 1;; ++seed) {
      ASSERT_LT(seed, 60);
      const auto c = config(file("wild.csv"),
                            {"model.system=planar", std::string("model.closed=") + closed, "steps=40", "model.layers=1",
                             "validation_every=5", "patience=2", "batch_size=50", "seed=" + std::to_string(seed)});
      auto t = trainer(c, closed + std::to_string(seed));
      if (!std::isnan(t.validate())) continue;
      train(t, 40);
      EXPECT_EQ(t.state().step, 40) << closed;
      EXPECT_EQ(t.state().skipped_steps, 0) << closed;
      EXPECT_TRUE(fs::exists(file(closed + std::to_string(seed)) / "flow.safetensors"));
      break;
    }
  }
}

/// A best that was not kept, for want of patience, is none for who resumes with patience.
TEST_F(FlowEngine, PatienceThatComesLaterBeginsAnew) {
  const std::vector<std::string> common{"model.system=planar", "model.layers=2",    "validation_every=5",
                                        "decay_steps=1",       "learning_rate=0.3", "gradient_clip=0"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), common.begin(), common.end());
    return config("two_moons", more);
  };
  {
    auto t = trainer(with({"steps=60"}), "r");
    train(t, 60);
    EXPECT_TRUE(std::isfinite(t.state().best));
    EXPECT_EQ(t.state().best_is_kept, 0);
  }
  auto again = trainer(with({"steps=80", "patience=500"}), "r", true);
  EXPECT_TRUE(std::isinf(again.state().best));
  train(again, 80);
  EXPECT_EQ(again.state().best_is_kept, 1);
  EXPECT_NE(load_flow(file("r") / "flow.safetensors").card.at("training_steps"), "60");
}

TEST_F(FlowEngine, SettingsThatWouldDoNothingAreRefused) {
  for (const std::vector<std::string>& sets : {std::vector<std::string>{"hold_out=0", "schedule=plateau"},
                                               {"hold_out=0", "patience=3"},
                                               {"model.norm=batch_norm", "batch_size=1"},
                                               {"seed=4294967296"}}) {
    auto all = sets;
    all.emplace_back("model.system=maf");
    EXPECT_THROW(config(table(), all), Error) << sets.back();
  }
  EXPECT_EQ(config(table(), {"model.system=maf", "hold_out=0"}).patience, 0);
}

/// As pandas writes a table whose columns have no names.
TEST_F(FlowEngine, AFirstRowThatCountsTheColumnsIsTold) {
  for (const char* first : {"0,1,2\n", "0.5,1,2\n"}) {
    std::ofstream(file("counted.csv")) << first << "0.25,0.5,1.5\n0.5,0.125,3\n";
    const auto lines = doubtful_columns(load_flow_data(
        parse_flow_data(nlohmann::json::object(), {"data.path=" + file("counted.csv").string()}, "test")));
    EXPECT_EQ(lines.size(), first[1] == ',' ? 1u : 0u) << first;
  }
}

TEST_F(FlowEngine, AFileForValidationIsHeldOutAndNothingElseIs) {
  std::ofstream(file("other.csv")) << "90,0.002\n101,0.03\n120,0.01\n";
  const std::string validation = "data.validation=" + file("other.csv").string();
  const std::vector<std::string> sets{"model.system=real_nvp", "model.hidden=8", "steps=6",   "batch_size=100",
                                      "validation_every=3",    "ema=0",          "patience=0"};
  auto with = sets, without = sets;
  with.push_back(validation);
  without.push_back("hold_out=0");
  auto validated = trainer(config(table(), with), "with"), all = trainer(config(table(), without), "without");
  EXPECT_EQ(validated.held_out_items(), 3);
  train(validated, 6);
  train(all, 6);
  EXPECT_EQ(testing::curve(file("with"), "loss"), testing::curve(file("without"), "loss"));

  const auto flow = load_flow(file("with") / "flow.safetensors");
  const auto items = load_flow_data({.path = file("other.csv").string()}).x;
  EXPECT_NEAR(validated.validate(), -flow.flow->log_prob(items).mean().item<double>(), 1e-5);

  with.push_back("hold_out=0.1");
  melflow::testing::expect_refused([&] { config(table(), with); }, Exit::config, "train.hold_out", "--validation");
  std::ofstream(file("wide.csv")) << "1,2,3\n4,5,6\n";
  melflow::testing::expect_refused([&] { load_flow_data({.path = table(), .validation = file("wide.csv").string()}); },
                                   Exit::bad_data, "wide.csv", "another size");
}

}  // namespace
}  // namespace melflow::engine
