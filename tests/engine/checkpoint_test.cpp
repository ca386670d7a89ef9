#include "engine/train/checkpoint.h"

#include <cstdio>
#include <fstream>
#include <set>

#include "base/error.h"
#include "tests/engine/faults.h"
#include "tests/engine/reference.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

using melflow::testing::Ending;
using melflow::testing::Fault;
using melflow::testing::TempDir;

/// A run of one small layer, the numbers of which tell the step.
struct SmallRun {
  torch::nn::Linear model{3, 2};
  Adam adam{model->parameters(), {}};
  std::map<std::string, torch::Tensor> average{{"weight", torch::zeros({2, 3})}};

  void be_at(int64_t step) {
    const torch::NoGradGuard no_grad;
    for (auto& p : model->parameters()) p.fill_(static_cast<double>(step));
    average["weight"].fill_(static_cast<double>(-step));
  }
  void save(const std::filesystem::path& run, int64_t step, int64_t keep) {
    be_at(step);
    save_checkpoint(run, {.step = step}, *model, {}, average, adam, keep);
  }
  /// The step that the folder holds, or -1 for none; every number must be of that step.
  static int64_t in(const std::filesystem::path& run) {
    SmallRun found;
    found.be_at(1000);
    const auto state = load_checkpoint(run, *found.model, {}, found.average, found.adam);
    if (!state) return -1;
    const auto step = static_cast<double>(state->step);
    for (const auto& p : found.model->parameters()) EXPECT_TRUE(p.eq(step).all().item<bool>());
    EXPECT_TRUE(found.average["weight"].eq(-step).all().item<bool>());
    return state->step;
  }
};

/// Saves step 3 beside 1 and 2 in another process, where call number `call` of the save goes wrong; 1 is to go, and 2
/// stays.
Ending save_with_fault(const std::filesystem::path& run, int call, Fault fault) {
  std::filesystem::remove_all(run);
  SmallRun training;
  training.save(run, 1, 5);
  training.save(run, 2, 5);
  return run_with_fault(run, call, fault, [&] { training.save(run, 3, 2); });
}

TEST(Checkpoint, OldOnesSurviveAWriterThatFailsOrDiesAtAnySystemCall) {
  torch::set_num_threads(1);  // what forks has no threads
  const TempDir folder;
  const auto run = folder / "run";
  int points = 0;
  for (const auto fault : {Fault::killed, Fault::no_space, Fault::io_error, Fault::quota, Fault::interrupted,
                           Fault::short_write, Fault::short_write_then_killed}) {
    int call = 0;
    for (;; ++call) {
      const auto ending = save_with_fault(run, call, fault);
      if (ending == Ending::not_reached) break;
      ASSERT_LT(call, 100);
      ++points;
      const bool saved = ending == Ending::done;
      const auto where = "fault " + std::to_string(static_cast<int>(fault)) + " at call " + std::to_string(call);
      EXPECT_NE(ending, Ending::wrong) << where;
      EXPECT_TRUE(saved || (fault != Fault::interrupted && fault != Fault::short_write)) << where;
      const auto step = SmallRun::in(run);
      EXPECT_TRUE(step == 3 || (step == 2 && !saved)) << where << " left step " << step;
      // Whatever is newest, its predecessor is there too: the old ones go when the new one is durable.
      EXPECT_TRUE(std::filesystem::exists(run / "checkpoints" / ("step-" + std::to_string(step - 1) + ".safetensors")))
          << where;
      SmallRun again;
      again.save(run, 4, 2);  // and what was left behind is in nobody's way
      EXPECT_EQ(SmallRun::in(run), 4) << where;
      const auto files = std::distance(std::filesystem::directory_iterator(run / "checkpoints"), {});
      EXPECT_EQ(files, 2) << where;
    }
    EXPECT_GT(call, 10);
  }
  RecordProperty("points", points);
  std::printf("%d points\n", points);
}

TEST(Checkpoint, OneByteThatChangedIsFoundAndTheOneBeforeTaken) {
  const TempDir folder;
  SmallRun training;
  for (const int64_t step : {1, 2, 3}) training.save(folder.path(), step, 5);
  const auto newest = folder / "checkpoints/step-3.safetensors";
  std::fstream file(newest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-2, std::ios::end);
  file.put('!');
  file.close();
  EXPECT_EQ(SmallRun::in(folder.path()), 2);
  std::filesystem::resize_file(folder / "checkpoints/step-2.safetensors", 70);
  EXPECT_EQ(SmallRun::in(folder.path()), 1);
  std::ofstream(folder / "checkpoints/step-9.safetensors") << "";
  EXPECT_EQ(SmallRun::in(folder.path()), 1);
}

TEST(Checkpoint, AChangedNumberOrOneThatIsNoneIsFoundToo) {
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"\\\"skipped_steps\\\":0", "\\\"skipped_steps\\\":7"},
        {"\\\"skipped_steps\\\":0", "\\\"skipped_steps\\\":[]"}}) {
    const TempDir folder;
    SmallRun training;
    for (const int64_t step : {1, 2}) training.save(folder.path(), step, 5);
    const auto newest = folder / "checkpoints/step-2.safetensors";
    std::ifstream in(newest, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const auto at = bytes.find(from);
    ASSERT_NE(at, std::string::npos);
    bytes.replace(at, from.size(), to);
    if (to.size() > from.size()) bytes.erase(bytes.find(' '), to.size() - from.size());  // the header's padding
    std::ofstream(newest, std::ios::binary) << bytes;
    EXPECT_EQ(SmallRun::in(folder.path()), 1) << to;
  }
}

TEST(Checkpoint, EveryNumberOfTheStateComesBack) {
  const TempDir folder;
  const TrainState state{.step = 9,
                         .skipped_steps = 2,
                         .seconds = 3.5,
                         .best = -0.25,
                         .best_is_kept = 1,
                         .since_best = 4,
                         .since_fall = 5,
                         .plateau_scale = 0.125,
                         .bad_in_a_row = 6,
                         .loss_sum = 7.5,
                         .losses = 8,
                         .owes_validation = 1,
                         .data = 10};
  SmallRun training, found;
  training.adam.steps = 7;  // a step that is left out is none of Adam's
  save_checkpoint(folder.path(), state, *training.model, {}, training.average, training.adam, 1);
  const auto back = load_checkpoint(folder.path(), *found.model, {}, found.average, found.adam);
  ASSERT_TRUE(back);
  EXPECT_EQ(found.adam.steps, 7);
  const auto numbers = [](const TrainState& s) {
    return std::vector<double>{static_cast<double>(s.step),
                               static_cast<double>(s.skipped_steps),
                               s.seconds,
                               s.best,
                               static_cast<double>(s.best_is_kept),
                               static_cast<double>(s.since_best),
                               static_cast<double>(s.since_fall),
                               s.plateau_scale,
                               static_cast<double>(s.bad_in_a_row),
                               s.loss_sum,
                               static_cast<double>(s.losses),
                               static_cast<double>(s.owes_validation),
                               static_cast<double>(s.data)};
  };
  EXPECT_EQ(numbers(*back), numbers(state));
}

TEST(Checkpoint, WhereNoneIsWholeTheRunIsNotBegunAnew) {
  const TempDir folder;
  SmallRun training;
  training.save(folder.path(), 5, 1);
  std::filesystem::resize_file(folder / "checkpoints/step-5.safetensors", 100);
  testing::expect_refused([&] { SmallRun::in(folder.path()); }, Exit::bad_data, (folder / "checkpoints").string());
}

TEST(Checkpoint, OneThatIsDamagedDoesNotCountAmongThoseKept) {
  const TempDir folder;
  SmallRun training;
  training.save(folder.path(), 2, 2);
  training.save(folder.path(), 9, 2);
  std::filesystem::resize_file(folder / "checkpoints/step-9.safetensors", 100);
  ASSERT_EQ(SmallRun::in(folder.path()), 2);
  training.save(folder.path(), 3, 1);  // the run that goes on from 2
  EXPECT_EQ(SmallRun::in(folder.path()), 3);
}

TEST(Checkpoint, TheNewestKAreKept) {
  const TempDir folder;
  SmallRun training;
  for (int64_t step = 1; step <= 12; ++step) training.save(folder.path(), step, 3);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "checkpoints")) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_EQ(names, (std::set<std::string>{"step-10.safetensors", "step-11.safetensors", "step-12.safetensors"}));
}

}  // namespace
}  // namespace melflow::engine
