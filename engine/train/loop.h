#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/checkpoint.h"
#include "engine/train/loop_options.h"
#include "engine/train/processes.h"
#include "engine/train/run_log.h"

namespace melflow::engine {

/// Weights by name: the moving average, empty where there is none.
using Weights = std::map<std::string, torch::Tensor>;

/// Whether an end is wanted. Asked often, between pieces of work.
using Stop = std::function<bool()>;

/// What is trained, and on what: all that the loop does not know.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual torch::nn::Module& model() = 0;
  /// State of the model besides its weights which training changes; saved and restored with them.
  virtual Weights changing_buffers() { return {}; }

  /// The loss of batch n: a pure function of the weights and n. LibTorch's generator has been seeded for it. Step s has
  /// the batches from s·accumulate on.
  virtual torch::Tensor loss(int64_t batch) = 0;
  virtual double items_per_batch() const = 0;  ///< what a batch holds, in the unit named
  virtual std::string item_unit() const = 0;   ///< "samples", "rows"
  /// Tells data from other data; 0 where nobody can say.
  virtual int64_t data_digest() const { return 0; }
  virtual double data_wait_seconds() const { return 0; }  ///< that loss() has waited for data, over all batches

  /// The loss of data that training does not see, under the averaged weights, or the model's own where there are none;
  /// NaN where there is no such data, nothing where `stop` came first.
  virtual std::optional<double> validate(const Weights& average, const Stop& stop) = 0;
  virtual std::string validation_tag() const = 0;
  /// More that is worth a curve, at every validation: of the model's own weights.
  virtual std::vector<std::pair<std::string, double>> curves() { return {}; }
  virtual void write_samples(RunLog&, int64_t /*step*/, const Weights& /*average*/) {}
  /// Writes what the training is for: a voice, a flow. Where there is patience, of the best validation.
  virtual void write_result(const TrainState& state, const Weights& average) = 0;
};

/// What a training reports as it goes.
struct Progress {
  int64_t step, steps;
  double loss;              ///< mean since the last point of the curve; NaN where nothing was finite
  double items_per_second;  ///< in the objective's unit
  double seconds_left;
  double data_wait;  ///< share of the time that was spent waiting for data
};

/// The one loop of every training: Adam, schedule, clipping, steps that are not finite left out, moving average,
/// validation and early stopping, checkpoints, log. A resumed run goes on bit for bit.
class TrainingLoop {
 public:
  /// Goes on from the newest checkpoint in the run's folder, where there is one. The objective must outlive this, and
  /// so must `processes`, where there are several: each has its own objective, whose losses are averaged, and all do
  /// the same steps; only the first writes.
  TrainingLoop(const LoopOptions& options, Objective& objective, std::filesystem::path run,
               Processes* processes = nullptr);

  /// Goes on to options.steps, to the end of patience, or until `stop` says so, which ends a validation too: a resumed
  /// run begins with it. The state is saved in any case. Calls `report` about once a second. Throws Error{bad_data}
  /// after too many steps that were not finite.
  void run(const Stop& stop, const std::function<void(const Progress&)>& report);

  /// The weights were replaced from outside: their moving average begins with them.
  void restart_average();

  const TrainState& state() const { return state_; }
  const Weights& average() const { return average_; }
  /// Whether the run has learned from other data than those that it goes on with: its best validation begins anew.
  bool data_changed() const { return data_changed_; }
  bool out_of_patience() const { return options_.patience > 0 && state_.since_best >= options_.patience; }

 private:
  /// One optimiser step; its loss, or NaN where the step was left out because something was not finite.
  double train_step();
  /// Gradients of the batches of this step, averaged; the mean of their losses.
  double gradients();
  double learning_rate() const;   ///< of the next step
  bool due(int64_t every) const;  ///< behind this step, or the last
  void log_loss(RunLog& log, double items_per_second, double data_wait);
  void update_average();
  /// The validation and the samples that are due; false where `stop` ended the validation, which is owed then.
  bool measure(RunLog* log, const Stop& stop);
  /// Of several processes, the first validates and tells the others; they have no log.
  void validate(RunLog* log, const Stop& stop);
  /// The loss of what is held out, on record; nothing where `stop` came first.
  std::optional<double> validated(RunLog& log, const Stop& stop);
  void heed(double validated);
  void save(RunLog& log);
  /// Of weights that are none nothing is saved: Error{bad_data}.
  void require_finite();
  bool writes() const { return processes_ == nullptr || processes_->rank() == 0; }
  /// Whether one of the processes is to end: then all do, after the same step.
  bool ended(bool here) { return processes_ == nullptr ? here : processes_->any(here); }

  LoopOptions options_;
  Objective& objective_;
  std::filesystem::path run_;
  Processes* processes_;
  Adam adam_;
  Weights average_;
  TrainState state_;
  double rate_ = 0;  // of the last step
  bool data_changed_ = false;
};

}  // namespace melflow::engine
