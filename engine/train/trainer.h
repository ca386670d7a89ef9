#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "engine/model_voice.h"
#include "engine/train/config.h"
#include "engine/train/dataset.h"
#include "engine/train/loop.h"
#include "engine/train/run_folder.h"
#include "models/flow/flow.h"

namespace melflow::engine {

using models::kHalfLog2Pi;

/// Trains a vocoder by maximum likelihood in a run folder: config.json, TensorBoard events, metrics.jsonl,
/// checkpoints/, samples/, voice.safetensors. A run may go on on another device than it began on.
class Trainer : private Objective {
 public:
  /// Throws Error{cannot_create} where the run exists already and `resume` is false. Of several `processes`, which must
  /// outlive this and know how to sum what lies on the device, the first writes; the run's folder is one that all see.
  Trainer(const TrainConfig& config, std::shared_ptr<Corpus> corpus, std::filesystem::path run, bool resume,
          Processes* processes = nullptr, torch::Device device = torch::kCPU);

  /// Fine-tuning: a new run begins with the weights of `voice` instead of random ones; one that is resumed has its own.
  /// Throws Error{config} where the voice is another model or speaks another mel.
  void start_from(const ModelVoice& voice);

  /// TrainingLoop::run: the loss is nats per sample without ½ln(2π), the items are samples of sound.
  void run(const Stop& stop, const std::function<void(const Progress&)>& report);

  /// Mean nats per sample, ½ln(2π) included, of the held-out recordings, each whole, under the averaged weights.
  double validate();

  bool data_changed() const { return loop_->data_changed(); }  ///< as TrainingLoop has it
  int64_t step() const { return loop_->state().step; }
  /// Whether all steps are done, or patience is at its end: nobody stopped it before.
  bool finished() const { return step() >= config_.steps || loop_->out_of_patience(); }
  int64_t skipped_steps() const { return loop_->state().skipped_steps; }
  models::Vocoder& model() override { return *model_; }
  double data_wait_seconds() const override { return feed_->seconds_waited(); }

 private:
  torch::Tensor loss(int64_t batch) override;
  double items_per_batch() const override;
  std::string item_unit() const override { return "samples"; }
  std::optional<double> validate(const Weights& average, const Stop& stop) override;
  std::string validation_tag() const override { return "validation_nats_per_sample"; }
  std::vector<std::pair<std::string, double>> curves() override;
  void write_samples(RunLog& log, int64_t step, const Weights& average) override;
  int64_t data_digest() const override { return corpus_->digest(); }
  void write_result(const TrainState& state, const Weights& average) override;
  ModelVoice averaged_voice(const Weights& average, const TrainState& state);

  TrainConfig config_;
  std::shared_ptr<Corpus> corpus_;
  std::filesystem::path run_;
  torch::Device device_;
  RunFolder folder_;  // of the first process; the others write nothing
  std::shared_ptr<models::Vocoder> model_;
  std::unique_ptr<CropFeed> feed_;
  int64_t rank_ = 0, ranks_ = 1;
  std::unique_ptr<TrainingLoop> loop_;
};

}  // namespace melflow::engine
