// What `flow train` learns, keeps and takes up again.

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"
#include "tests/engine/flow_fixture.h"

namespace melflow::engine {
namespace {

using melflow::testing::tensors_of;

TEST_F(FlowEngine, LearnsAToyToNearlyItsDensity) {
  const auto c = config("banana", {"model.system=real_nvp", "steps=400", "learning_rate=5e-3", "model.layers=4",
                                   "model.hidden=32", "validation_every=200"});
  auto t = trainer(c, "r");
  train(t, 400);
  const auto score = score_flow(load_flow(file("r") / "flow.safetensors"), load_flow_data(c.data), 8000, 3);
  EXPECT_LT(score.gap->mean, 0.08);
  EXPECT_GT(score.gap->mean, -3 * score.gap->standard_error);
  EXPECT_EQ(t.state().skipped_steps, 0);
}

TEST_F(FlowEngine, ComesCloseToAnEnergy) {
  const auto c = config("u1", {"model.system=planar", "model.layers=4", "steps=500", "learning_rate=1e-2"});
  EXPECT_EQ(c.model["closed"], "sampling");
  auto t = trainer(c, "r");
  const double before = t.validate();
  train(t, 500);
  const auto score = score_energy(load_flow(file("r") / "flow.safetensors"), *find_energy("u1"), 4000, 1);
  EXPECT_LT(score.kl.mean, before - 1);
  EXPECT_GT(score.kl.mean, -3 * score.kl.standard_error);
  EXPECT_GT(score.effective_share, 0.05);
}

TEST_F(FlowEngine, StoppedAndResumedEqualsUninterruptedBitForBit) {
  for (const std::string system : {"maf", "glow"}) {
    const auto c = config(table(), {"model.system=" + system, "steps=60", "batch_size=50", "validation_every=10",
                                    "checkpoint_every=1000", "ema=0.9", "model.hidden=8", "patience=100"});
    auto straight = trainer(c, system + "_straight");
    train(straight, 60);
    {
      auto part = trainer(c, system + "_cut");
      train(part, 25);
    }
    auto rest = trainer(c, system + "_cut", true);
    EXPECT_EQ(rest.state().step, 25);
    train(rest, 60);
    for (const char* name : {"checkpoints/step-60.safetensors", "flow.safetensors"}) {
      const auto a = tensors_of(file(system + "_straight") / name), b = tensors_of(file(system + "_cut") / name);
      ASSERT_EQ(a.size(), b.size());
      for (const auto& [key, tensor] : a) EXPECT_TRUE(torch::equal(tensor, b.at(key))) << name << " " << key;
    }
  }
}

/// At a rate at which nothing is learned, a batch's loss says which rows it holds.
TEST_F(FlowEngine, AnEpochHearsEveryRowOnceAndTheNextInAnotherOrder) {
  const auto c = config(table(), {"model.system=real_nvp", "model.hidden=8", "steps=12", "batch_size=100", "hold_out=0",
                                  "learning_rate=1e-30", "log_every=1"});
  auto t = trainer(c, "r");
  train(t, 12);
  std::vector<double> epochs[2];
  for (const auto& line : testing::curve(file("r"), "loss")) epochs[epochs[0].size() < 6 ? 0 : 1].push_back(line);
  ASSERT_EQ(epochs[1].size(), 6u);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[0][0], epochs[0][1]);
  const auto sum = [](const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); };
  EXPECT_NEAR(sum(epochs[0]), sum(epochs[1]), 1e-4);
}

TEST_F(FlowEngine, ValidationIsTheMeanOverWhatIsHeldOut) {
  std::ofstream out(file("equal.csv"));  // so that it is the same whatever is held out
  for (int i = 0; i < 3000; ++i) out << "0.5,0.25\n";
  out.close();
  const auto c = config(file("equal.csv"), {"model.system=real_nvp", "model.hidden=8", "model.preprocess=none",
                                            "steps=1", "hold_out=0.5"});
  auto t = trainer(c, "r");
  ASSERT_EQ(t.held_out_items(), 1500);  // more than are scored at once
  train(t, 1);
  const auto score = score_flow(load_flow(file("r") / "flow.safetensors"), load_flow_data(c.data), 0, 0);
  EXPECT_NEAR(t.validate(), -score.nats.mean, 1e-5);
}

/// The energy's weight rises over `anneal` of all steps, however many batches a step has.
TEST_F(FlowEngine, AnnealingGoesBySteps) {
  const auto c = config("u2", {"model.system=planar", "model.layers=1", "steps=10", "accumulate=2", "batch_size=8192",
                               "train.anneal=1", "learning_rate=1e-30", "log_every=1", "validation_every=0"});
  auto t = trainer(c, "r");
  train(t, 10);
  const auto losses = testing::curve(file("r"), "loss");
  ASSERT_EQ(losses.size(), 10u);
  EXPECT_NEAR((losses[5] - losses[0]) / (losses[9] - losses[0]), 5.0 / 9, 0.1);
}

TEST_F(FlowEngine, GoesOnAsTheFunctionThatItWas) {
  auto c = config(table(), {"model.system=real_nvp", "steps=2", "model.hidden=8", "model.scale=tanh"});
  {
    auto t = trainer(c, "r");
    train(t, 1);
  }
  EXPECT_NO_THROW(trainer(c, "r", true));
  c.model["scale"] = "exp";  // of the same weights
  EXPECT_THROW(trainer(c, "r", true), Error);
}

/// One row in which nothing is finite must not stay in what batch norm remembers.
TEST_F(FlowEngine, AStepThatIsLeftOutMovesNothing) {
  std::ofstream(file("outlier.csv")) << [] {
    std::string text = "1e30,1\n";
    for (int i = 0; i < 99; ++i) text += std::to_string(i % 7) + "," + std::to_string(i % 11) + "\n";
    return text;
  }();
  const auto c = config(file("outlier.csv"),
                        {"model.system=real_nvp", "model.preprocess=none", "model.norm=batch_norm", "model.hidden=8",
                         "model.layers=2", "steps=12", "batch_size=10", "hold_out=0", "bad_steps_in_a_row=5"});
  auto t = trainer(c, "r");
  train(t, 12);
  EXPECT_GT(t.state().skipped_steps, 0);
  EXPECT_LT(t.state().skipped_steps, 12);
  const auto model = load_flow(file("r") / "flow.safetensors");
  for (const auto& b : model.flow->named_buffers()) EXPECT_LT(b.value().abs().max().item<double>(), 1e6) << b.key();
}

TEST_F(FlowEngine, BuffersThatMakeNoBijectionAreRefused) {
  const auto c = config(table(), {"model.system=real_nvp", "model.norm=batch_norm", "steps=1", "model.hidden=8"});
  auto t = trainer(c, "r");
  train(t, 1);
  const auto path = file("r") / "flow.safetensors";
  auto model = load_flow(path);
  for (auto& b : model.flow->named_buffers()) {
    if (b.key().ends_with("variance")) b.value().fill_(-2);
  }
  save_flow(path, model, AtomicFile::Existing::replace);
  EXPECT_THROW(load_flow(path), Error);

  FlowModel images{.name = "images",
                   .config = resolved_flow_config(
                       {{"system", "real_nvp"}, {"channels", 1}, {"height", 4}, {"width", 4}, {"hidden", 4}}, "test"),
                   .card = {},
                   .flow = nullptr};
  images.flow = build_flow(images.config, "test");
  for (const float kept : {1.0f, 0.5f}) {
    for (auto& b : images.flow->named_buffers()) {
      if (kept != 1 && b.key().ends_with("kept")) b.value().fill_(kept);
    }
    save_flow(path, images, AtomicFile::Existing::replace);
    if (kept == 1) {
      EXPECT_NO_THROW(load_flow(path));
    } else {
      EXPECT_THROW(load_flow(path), Error);
    }
  }
}

TEST_F(FlowEngine, PreprocessingIsOfFiles) {
  for (const char* way : {"logit", "standardise"}) {
    EXPECT_THROW(config("two_moons", {"model.system=maf", std::string("model.preprocess=") + way}), Error);
  }
  EXPECT_THROW(config("u1", {"model.system=planar", "train.anneal=10"}), Error);
}

TEST_F(FlowEngine, AFileWhoseOrderIsNoneIsRefused) {
  const auto c = config(table(), {"model.system=real_nvp", "model.mixing=permuted", "steps=1", "model.hidden=8"});
  auto t = trainer(c, "r");
  train(t, 1);
  const auto path = file("r") / "flow.safetensors";
  auto model = load_flow(path);
  auto order = [&] {
    for (const auto& b : model.flow->named_buffers()) {
      if (b.key().ends_with("order")) return b.value();
    }
    return torch::Tensor();
  }();
  ASSERT_TRUE(order.defined());
  for (const float wrong : {-1.0f, 2.0f, 0.5f, 1e30f}) {
    order[0] = wrong;
    save_flow(path, model, AtomicFile::Existing::replace);
    EXPECT_THROW(load_flow(path), Error) << wrong;
  }
}

TEST_F(FlowEngine, NatsAreThoseOfTheDatasOwnUnits) {
  const auto c = config(table(), {"model.system=real_nvp", "steps=300", "model.hidden=32", "patience=0"});
  auto t = trainer(c, "r");
  train(t, 300);
  const auto model = load_flow(file("r") / "flow.safetensors");
  const auto score = score_flow(model, load_flow_data(c.data), 0, 0);
  EXPECT_EQ(score.items, 600);
  // a ~ N(100, 20²), b | a ~ N(0.01 a'², 0.003²): the truth in closed form.
  const double truth = -std::log(2 * M_PI * M_E) - std::log(20) - std::log(0.003);
  EXPECT_NEAR(score.nats.mean, truth, 0.15);
  EXPECT_NEAR(*score.standardised_nats - score.nats.mean, std::log(20) + std::log(0.01 * std::sqrt(2.09)), 0.25);
}

TEST_F(FlowEngine, ARunFromBeforeThereWasALimitGoesOnWithoutOne) {
  auto stored = to_json(config(table(), {"model.system=maf"}));
  const auto again = [&] {
    return parse_flow_config(stored, {}, load_flow_data(parse_flow_data(stored, {}, "run")), "run");
  };
  EXPECT_EQ(again().model["input_limit"], 8);
  stored["model"].erase("input_limit");
  EXPECT_EQ(again().model["input_limit"], 0);
}

TEST_F(FlowEngine, ANumberFarFromAllRowsCostsItsRowNoThousands) {
  std::ofstream(file("far.csv")) << "700,0.09\n";  // 30 standard deviations
  EXPECT_EQ(config(table(), {"model.system=maf"}).model["input_limit"], 8);
  EXPECT_EQ(config("banana", {"model.system=maf"}).model["input_limit"], 0);  // is as it is
  const auto nats_with = [&](const std::string& limit) {
    const auto c = config(table(), {"model.system=maf", "steps=300", "model.hidden=32", "patience=0", limit});
    auto t = trainer(c, limit);
    train(t, 300);
    auto data = c.data;
    data.path = file("far.csv").string();
    return score_flow(load_flow(file(limit) / "flow.safetensors"), load_flow_data(data), 0, 0).nats.mean;
  };
  EXPECT_LT(nats_with("model.input_limit=0"), -20000);
  EXPECT_GT(nats_with("model.input_limit=4"), -2000);
}

}  // namespace
}  // namespace melflow::engine
