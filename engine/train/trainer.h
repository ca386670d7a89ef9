#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <torch/optim.h>

#include "engine/train/checkpoint.h"
#include "engine/train/config.h"
#include "engine/train/dataset.h"
#include "engine/train/run_log.h"
#include "engine/voice.h"

namespace melflow::engine {

/// ½ln(2π): what a standard normal density adds to the loss that the reference reports.
inline constexpr double kHalfLog2Pi = 0.91893853320467274178;

/// Negative log-likelihood of each position, in nats per sample without the constant ½ln(2π):
/// (½ Σ_channels z² - local) / group, [batch, groups]. The reference's loss at sigma 1, before its mean.
torch::Tensor nats_by_group(const models::Mapped& mapped, int64_t group_size);

/// What a training reports as it goes.
struct Progress {
  int64_t step, steps;
  double loss;                ///< nats per sample without ½ln(2π), mean since the last report
  double samples_per_second;  ///< of sound
  double seconds_left;
};

/// Trains a vocoder by maximum likelihood in a run folder: config.json, TensorBoard events, metrics.jsonl,
/// checkpoints/, samples/, voice.safetensors.
class Trainer {
 public:
  /// Throws Error{cannot_create} where the run exists already and `resume` is false.
  Trainer(const TrainConfig& config, Corpus corpus, std::filesystem::path run, bool resume);

  /// Fine-tuning: a new run begins with the weights of `voice` instead of random ones; one that is resumed has its own.
  /// Throws Error{config} where the voice is another model or speaks another mel.
  void start_from(const Voice& voice);

  /// Goes on to config.steps, or until `stop` says so; either way the state is saved. Calls `report` about once a
  /// second. Throws Error{bad_data} after too many steps that were not finite.
  void run(const std::function<bool()>& stop, const std::function<void(const Progress&)>& report);

  /// Mean nats per sample, ½ln(2π) included, of the held-out recordings, each whole, under the averaged weights.
  double validate();

  int64_t step() const { return state_.step; }
  int64_t skipped_steps() const { return state_.skipped_steps; }
  models::Vocoder& model() { return *model_; }

 private:
  /// One optimiser step; its loss, or NaN where the step was left out because something was not finite.
  double train_step();
  double learning_rate() const;
  void update_average();
  void save();
  void write_samples(RunLog& log);
  Voice averaged_voice();

  TrainConfig config_;
  Corpus corpus_;
  std::filesystem::path run_;
  std::shared_ptr<models::Vocoder> model_;
  std::unique_ptr<torch::optim::Adam> adam_;
  std::map<std::string, torch::Tensor> average_;
  TrainState state_;
  int64_t bad_in_a_row_ = 0;
};

}  // namespace melflow::engine
