// Flows whose density depends on numbers: how they are trained, kept and used.

#include "engine/flow/registry.h"
#include "models/flow/act_norm.h"
#include "models/flow/standardised_context.h"
#include "tests/engine/flow_fixture.h"

namespace melflow::engine {
namespace {

class FlowContext : public FlowEngine {
 protected:
  /// The table's first column is the context of its second.
  FlowTrainConfig of_context(const std::string& data, std::vector<std::string> sets = {}) const {
    sets.insert(sets.begin(), {"model.system=nsf", "model.hidden=8", "model.autoregressive=true", "model.layers=1",
                               "steps=8", "batch_size=50", "validation_every=4", "data.context_columns=1"});
    return config(data, sets);
  }
  std::string lines_of(const std::string& table, const std::vector<std::string>& sets) const {
    std::ofstream(file("doubtful.csv")) << table;
    std::vector<std::string> all{"data.path=" + file("doubtful.csv").string()};
    all.insert(all.end(), sets.begin(), sets.end());
    std::string lines;
    for (const auto& line : doubtful_columns(load_flow_data(parse_flow_data(nlohmann::json::object(), all, "test")))) {
      lines += line + "\n";
    }
    return lines;
  }
};

TEST_F(FlowContext, IsStandardisedByTheTrainingsRowsAndKeptInTheFile) {
  auto t = trainer(of_context(table(), {"hold_out=0"}), "run");
  train(t, 8);
  const auto model = load_flow(file("run") / "flow.safetensors");
  const auto column = load_flow_data({.path = table()}).x.select(1, 0).to(torch::kFloat64);
  double mean = 0, deviation = 0;
  for (const auto& b : model.flow->named_buffers()) {
    if (b.key().ends_with("context_mean")) mean = b.value().item<double>();
    if (b.key().ends_with("context_std")) deviation = b.value().item<double>();
  }
  EXPECT_NEAR(mean, column.mean().item<double>(), 1e-4);
  EXPECT_NEAR(deviation, column.std(/*unbiased=*/false).item<double>(), 1e-4);
  EXPECT_EQ(model.config["context_of"], "numbers");
  const auto like = any_context(*model.flow, 4000);
  EXPECT_NEAR(like.mean().item<double>(), mean, 2);
  EXPECT_NEAR(like.std().item<double>(), deviation, 2);
}

TEST_F(FlowContext, AStoppedTrainingGoesOnAsIfItHadNotBeenAndKnowsItsContext) {
  const auto settings = of_context(table());
  auto whole = trainer(settings, "whole"), part = trainer(settings, "part");
  train(whole, 8);
  train(part, 5);
  {
    auto resumed = trainer(settings, "part", /*resume=*/true);
    EXPECT_FALSE(resumed.data_changed());
    train(resumed, 8);
    EXPECT_EQ(resumed.validate(), whole.validate());
  }
  auto other = settings;  // the same numbers, of which another column is the context
  std::ofstream exchanged(file("exchanged.csv"));
  const auto rows = load_flow_data({.path = table()}).x;
  for (int64_t i = 0; i < rows.size(0); ++i) {
    exchanged << rows[i][0].item<double>() + (i == 7 ? 1 : 0) << ',' << rows[i][1].item<double>() << '\n';
  }
  exchanged.close();
  other.data.path = file("exchanged.csv").string();
  EXPECT_TRUE(trainer(other, "part", /*resume=*/true).data_changed());
}

TEST_F(FlowContext, ValidationsFileHasItToo) {
  std::ofstream(file("other.csv")) << "90,0.002\n101,0.03\n120,0.01\n";
  const auto settings = of_context(table(), {"data.validation=" + file("other.csv").string()});
  auto t = trainer(settings, "run");
  EXPECT_EQ(t.held_out_items(), 3);
  train(t, 8);
  EXPECT_TRUE(std::isfinite(t.validate()));
}

TEST_F(FlowContext, WhatIsDoubtfulInItIsTold) {
  const auto constant = lines_of("5,1\n5,2.5\n5,3\n", {"data.context_columns=1"});
  EXPECT_NE(constant.find("column 1; nothing depends on it"), std::string::npos) << constant;
  const auto counted = lines_of("0.5,0,1\n0.1,1,2.5\n0.7,2,3\n", {"data.context_columns=2"});
  EXPECT_NE(counted.find("counts the rows: column 2"), std::string::npos) << counted;
  const auto coarse = lines_of("1.7e9,1\n1700000200,2.5\n1700000900,3\n", {"data.context_columns=1"});
  EXPECT_NE(coarse.find("few values apart in column 1"), std::string::npos) << coarse;
  EXPECT_EQ(lines_of("0.5,1\n0.7,2.5\n0.1,3\n", {"data.context_columns=1"}), "");
}

TEST_F(FlowContext, NumbersThatAreNoneAreRefused) {
  std::ofstream(file("nan.csv")) << "1\n2\nnan\n";
  try {
    read_context(file("nan.csv").string());
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("line 3"), std::string::npos) << e.what();
  }
  EXPECT_THROW(read_context(file("nowhere.csv").string()), Error);
}

TEST_F(FlowContext, AConstantOneIsLeftAsItIsAndNoDeviationsAreRefused) {
  models::StandardisedContext told(2, std::make_shared<models::Standardise>(3));
  told.fit(torch::tensor({{7.0, 1e-42}, {7.0, 3e-42}}, torch::kFloat64));
  EXPECT_EQ(told.wrong_buffers(), "");
  const auto some = told.from_standard(torch::ones({1, 2}));
  EXPECT_EQ(some[0][0].item<float>(), 8);
  for (const double wrong : {0.0, -1.0, 1e-45, std::nan("")}) {
    torch::NoGradGuard no_grad;
    told.named_buffers()["context_std"].fill_(wrong);
    EXPECT_NE(told.wrong_buffers(), "") << wrong;
  }
}

}  // namespace
}  // namespace melflow::engine
