// A training that fails or dies at any system call goes on, when it is resumed, as if nothing had happened.
#include <fstream>
#include <iterator>

#include "engine/train/loop.h"
#include "tests/engine/faults.h"
#include "tests/engine/reference.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using melflow::testing::Ending;
using melflow::testing::Fault;
using melflow::testing::TempDir;

/// The smallest training that has all that a run's folder has; its result is the average, with its step.
class LayerObjective : public Objective {
 public:
  explicit LayerObjective(fs::path run) : run_(std::move(run)) {
    const torch::NoGradGuard no_grad;
    for (auto& p : layer_->parameters()) p.fill_(0.1);
  }
  torch::nn::Module& model() override { return *layer_; }
  torch::Tensor loss(int64_t batch) override {
    const auto x = torch::randn({4, 3}) + static_cast<double>(batch);
    return (layer_->forward(x) - 1).square().mean();
  }
  double items_per_batch() const override { return 4; }
  std::string item_unit() const override { return "rows"; }
  std::optional<double> validate(const Weights& average, const Stop& stop) override {
    if (stop()) return {};
    return (average.empty() ? layer_->weight : average.at("weight")).sum().item<double>();
  }
  std::string validation_tag() const override { return "validation"; }
  void write_result(const TrainState& state, const Weights& average) override {
    TensorTable table;
    for (const auto& [name, tensor] : average) table.add(name, tensor);
    table.add("step", torch::tensor(state.step));
    files::write_safetensors(run_ / "voice.safetensors", table.views(), {}, AtomicFile::Existing::replace);
  }

 private:
  fs::path run_;
  torch::nn::Linear layer_{3, 2};
};

constexpr int64_t kSteps = 6;

/// Begins or resumes the run, which ends where `stop`, given its step, says so.
template <typename StopAt>
void go_on(const fs::path& run, StopAt&& stop) {
  LoopOptions options;
  options.steps = kSteps;
  options.log_every = 1;
  options.checkpoint_every = options.validation_every = 2;
  options.sample_every = 0;
  LayerObjective objective(run);
  TrainingLoop loop(options, objective, run);
  loop.run([&] { return stop(loop.state().step); }, [](const Progress&) {});
}

void go_on(const fs::path& run) {
  go_on(run, [](int64_t) { return false; });
}

/// A run that died behind step 5, the checkpoint of which, and that of step 4, are damaged: 2 is the newest whole one.
void make_broken_run(const fs::path& run) {
  go_on(run, [](int64_t step) { return step >= 5; });
  const auto checkpoint = [&](int step) {
    return run / "checkpoints" / ("step-" + std::to_string(step) + ".safetensors");
  };
  fs::remove(checkpoint(5));
  fs::resize_file(checkpoint(4), fs::file_size(checkpoint(4)) - 1);
}

/// What a run logged, without what a clock says.
std::vector<nlohmann::json> logged(const fs::path& run) {
  std::vector<nlohmann::json> out;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    out.push_back(nlohmann::json::parse(line));
    for (const char* by_clock : {"rows_per_second", "data_wait"}) out.back().erase(by_clock);
  }
  return out;
}

/// All event files of a run, one behind the other.
std::string events_of(const fs::path& run) {
  std::string all;
  for (const auto& entry : fs::directory_iterator(run)) {
    if (!entry.path().filename().string().starts_with("events.")) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    all.append(std::istreambuf_iterator<char>(file), {});
  }
  return all;
}

/// The step of the newest checkpoint that is whole.
int64_t newest_whole(const fs::path& run) {
  LayerObjective objective(run);
  LoopOptions options;
  return TrainingLoop(options, objective, run).state().step;
}

void expect_same_tensors(const fs::path& actual, const fs::path& expected, const std::string& where) {
  const auto a = melflow::testing::tensors_of(actual), e = melflow::testing::tensors_of(expected);
  ASSERT_EQ(a.size(), e.size()) << where;
  for (const auto& [name, tensor] : e) EXPECT_TRUE(torch::equal(a.at(name), tensor)) << name << where;
}

/// What holds of a run that a fault ended: everything up to its newest whole checkpoint is on record, and resumed it
/// ends as `straight` did, where nothing went wrong; nothing that nobody needs is left behind.
void expect_mended_by_resuming(const fs::path& run, const fs::path& straight, const std::string& where) {
  const auto step = newest_whole(run);
  EXPECT_GE(step, 2) << where;
  const auto expected = logged(straight);
  const auto events = events_of(run);
  for (const auto& line : expected) {
    if (!line.contains("loss") || line["step"] > step) continue;
    // Behind its time, which is the first field: a byte and eight.
    const auto event = files::scalar_event(0, line["step"], "loss", line["loss"].get<float>()).substr(9);
    EXPECT_NE(events.find(event), std::string::npos) << "no event of step " << line["step"] << where;
  }
  go_on(run);
  EXPECT_EQ(logged(run), expected) << where;
  for (const char* file : {"checkpoints/step-6.safetensors", "voice.safetensors"}) {
    expect_same_tensors(run / file, straight / file, where);
  }
  for (const auto& entry : fs::recursive_directory_iterator(run)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".melflow-")) << entry.path() << where;
  }
}

TEST(TrainingLoop, EndsInAValidationAndBeginsWithItWhenItIsResumed) {
  const TempDir folder;
  const auto straight = folder / "straight", run = folder / "run";
  go_on(straight);
  // Asked before each step, and before both halves of the validations behind steps 2, 4 and 6: the average's, the raw.
  for (const int ends_at : {2, 3, 6, 7, 10, 11}) {
    fs::remove_all(run);
    int asked = 0;
    go_on(run, [&](int64_t) { return ++asked > ends_at; });
    const auto before = logged(run);
    EXPECT_LT(before.size(), logged(straight).size());
    go_on(run, [](int64_t) { return true; });  // at once: it is still owed
    EXPECT_EQ(logged(run), before);
    go_on(run);
    EXPECT_EQ(logged(run), logged(straight)) << ends_at;
    for (const char* file : {"checkpoints/step-6.safetensors", "voice.safetensors"}) {
      expect_same_tensors(run / file, straight / file, " ended at question " + std::to_string(ends_at));
    }
  }
}

TEST(TrainingLoop, FailsOrDiesAtAnySystemCallAndGoesOnToTheSameEnd) {
  torch::set_num_threads(1);  // what forks has no threads
  const TempDir folder;
  const auto straight = folder / "straight", broken = folder / "broken", run = folder / "run";
  go_on(straight);
  make_broken_run(broken);
  int points = 0;
  for (const auto fault :
       {Fault::killed, Fault::no_space, Fault::interrupted, Fault::short_write, Fault::short_write_then_killed}) {
    int call = 0;
    for (;; ++call) {
      fs::remove_all(run);
      fs::copy(broken, run, fs::copy_options::recursive);
      const auto ending = run_with_fault(run, call, fault, [&] { go_on(run); });
      if (ending == Ending::not_reached) break;
      ASSERT_LT(call, 200);
      ++points;
      const auto where = ", fault " + std::to_string(static_cast<int>(fault)) + " at call " + std::to_string(call);
      EXPECT_NE(ending, Ending::wrong) << where;
      const bool must_be_done = fault == Fault::interrupted || fault == Fault::short_write;
      EXPECT_TRUE(ending == Ending::done || !must_be_done) << where;
      expect_mended_by_resuming(run, straight, where);
    }
    EXPECT_GT(call, 50);
  }
  std::printf("%d points\n", points);
}

}  // namespace
}  // namespace melflow::engine
