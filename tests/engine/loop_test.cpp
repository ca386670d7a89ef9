// What the loop of a training makes of losses and validations that are known beforehand.
#include "engine/train/loop.h"

#include <fstream>
#include <iterator>

#include "base/error.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

/// Learns nothing: its losses and validations are those that it is told.
class ToldObjective : public Objective {
 public:
  std::vector<double> losses, validations;  ///< one after the other; behind the last the last
  size_t validated = 0;
  std::vector<int64_t> results;  ///< steps that a result was written of

  torch::nn::Module& model() override { return *layer_; }
  torch::Tensor loss(int64_t batch) override {
    const auto value = losses.empty() ? 1 : losses[std::min(static_cast<size_t>(batch), losses.size() - 1)];
    return layer_->weight.sum() * 0 + value;
  }
  double items_per_batch() const override { return 1; }
  std::string item_unit() const override { return "rows"; }
  std::optional<double> validate(const Weights&, const Stop&) override {
    return validations[std::min(validated++, validations.size() - 1)];
  }
  std::string validation_tag() const override { return "validation"; }
  void write_result(const TrainState& state, const Weights&) override { results.push_back(state.step); }

 private:
  torch::nn::Linear layer_{2, 1};
};

class ToldTraining : public ::testing::Test {
 protected:
  ToldTraining() {
    options.learning_rate = 1;
    options.warmup_steps = options.validation_every = options.checkpoint_every = options.sample_every = 0;
    options.ema = 0;
    options.log_every = 1;
  }
  /// Goes on with the run where it has begun.
  TrainState run(const std::string& name = "run") {
    TrainingLoop loop(options, objective, folder_ / name);
    loop.run([] { return false; }, [](const Progress&) {});
    return loop.state();
  }
  std::vector<double> logged(const std::string& tag) const { return testing::curve(folder_ / "run", tag); }
  LoopOptions options;
  ToldObjective objective;

  testing::TempDir folder_;
};

using Values = std::vector<double>;

TEST_F(ToldTraining, ThePlateausRateFallsAfterEachPatienceAndNotBelowTheFinalOne) {
  options.schedule = Schedule::plateau;
  options.steps = 8;
  options.validation_every = 1;
  options.plateau_patience = 2;
  options.final_learning_rate = 0.4;
  objective.validations = {1};
  run();
  EXPECT_EQ(logged("learning_rate"), (Values{1, 1, 1, 0.5, 0.5, 0.4, 0.4, 0.4}));
}

TEST_F(ToldTraining, ANewBestIsPatientAnew) {
  options.schedule = Schedule::plateau;
  options.steps = 6;
  options.validation_every = 1;
  options.plateau_patience = 2;
  objective.validations = {5, 6, 4, 5, 5, 5};
  run();
  EXPECT_EQ(logged("learning_rate"), (Values{1, 1, 1, 1, 1, 0.5}));
}

TEST_F(ToldTraining, ADecayLongerThanTheRunIsTheWholeRun) {
  options.steps = 4;
  options.decay_steps = 100;
  run();
  EXPECT_EQ(logged("learning_rate"), (Values{1, 0.75, 0.5, 0.25}));
}

TEST_F(ToldTraining, BadStepsCountInARow) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  options.steps = 9;
  options.bad_steps_in_a_row = 3;
  objective.losses = {nan, nan, 1, nan, nan, 1, nan, nan, 1};
  EXPECT_EQ(run().skipped_steps, 6);
  objective.losses = {nan};
  options.steps = 20;
  EXPECT_THROW(run(), Error);
}

TEST_F(ToldTraining, TheLastStepIsValidatedToo) {
  options.steps = 5;
  options.validation_every = 2;
  objective.validations = {3, 2, 1};
  EXPECT_EQ(run().best, 1);
  EXPECT_EQ(logged("validation"), (Values{3, 2, 1}));
}

TEST_F(ToldTraining, APointOfTheCurveIsTheMeanSinceTheLast) {
  options.steps = 5;
  options.log_every = 2;
  objective.losses = {1, 2, 5, 7, 9};
  run();
  EXPECT_EQ(logged("loss"), (Values{1.5, 6, 9}));
}

/// TensorBoard forgets what it has seen from the step on that a session begins with.
TEST_F(ToldTraining, ARunThatGoesOnKeepsWhatTensorBoardHasSeen) {
  options.steps = 3;
  run();
  options.steps = 5;
  run();
  std::string events;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run")) {
    if (!entry.path().filename().string().starts_with("events.")) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    events.append(std::istreambuf_iterator<char>(file), {});
  }
  // Event{step = 2: 4, session_log = 7: {status = 1: START}}
  EXPECT_NE(events.find(std::string("\x10\x04\x3a\x02\x08\x01")), std::string::npos);
}

TEST_F(ToldTraining, WithPatienceTheBestIsWhatIsKept) {
  options.steps = 6;
  options.validation_every = options.checkpoint_every = 1;
  options.patience = 3;
  objective.validations = {3, 1, 2, 2, 2};
  const auto state = run();
  EXPECT_EQ(state.step, 5);
  EXPECT_EQ(objective.results, (std::vector<int64_t>{1, 2}));
}

TEST_F(ToldTraining, ValidationsThatSayNothingTryNobodysPatience) {
  options.steps = 6;
  options.validation_every = 1;
  options.patience = 2;
  objective.validations = {std::numeric_limits<double>::infinity()};
  EXPECT_EQ(run("infinity").step, 6);
  objective.validations = {std::numeric_limits<double>::quiet_NaN()};
  EXPECT_EQ(run("nan").step, 6);
}

}  // namespace
}  // namespace melflow::engine
