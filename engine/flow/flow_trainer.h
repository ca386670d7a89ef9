#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "engine/flow/flow_data.h"
#include "engine/flow/flow_file.h"
#include "engine/flow/flow_train_config.h"
#include "engine/train/loop.h"
#include "engine/train/run_folder.h"

namespace melflow::engine {

/// Trains a flow in a run folder: config.json, TensorBoard events, metrics.jsonl, checkpoints/, flow.safetensors.
/// By maximum likelihood (nats an item; bits per dimension for images), or, to an energy, by reverse KL,
///   E_q[ln q(z) + U(z)] + ln ∫exp(-U) ≥ 0.
class FlowTrainer : private Objective {
 public:
  /// Throws Error{cannot_create} where the run exists already and `resume` is false.
  FlowTrainer(const FlowTrainConfig& config, FlowData data, std::filesystem::path run, bool resume,
              torch::Device device = torch::kCPU);

  void run(const Stop& stop, const std::function<void(const Progress&)>& report);

  double validate() {
    return *validate(loop_->average(), [] { return false; });
  }
  const TrainState& state() const { return loop_->state(); }
  bool data_changed() const { return loop_->data_changed(); }  ///< as TrainingLoop has it
  /// Of a file's items, for validation: 0 where there are too few to keep any out.
  int64_t held_out_items() const { return held_out_.defined() ? held_out_.size(0) : 0; }
  bool out_of_patience() const { return loop_->out_of_patience(); }
  std::string unit() const;  ///< of the loss

 private:
  torch::nn::Module& model() override { return *flow_; }
  Weights changing_buffers() override;
  torch::Tensor loss(int64_t batch) override;
  double items_per_batch() const override {
    const auto there = training_.defined() ? training_.size(0) : config_.batch_size;
    return static_cast<double>(std::min(config_.batch_size, there));
  }
  std::string item_unit() const override { return "items"; }
  int64_t data_digest() const override;
  std::optional<double> validate(const Weights& average, const Stop& stop) override;
  std::string validation_tag() const override { return "validation"; }
  void write_result(const TrainState& state, const Weights& average) override;

  void split(int64_t items);
  /// Sets what the model takes from data before its first step.
  void prepare_model();
  FlowBatch training_batch(int64_t index);
  /// Mean loss of a batch, in the objective's unit; `seed` is that of the dequantisation.
  torch::Tensor mean_loss(const FlowBatch& batch, uint64_t seed);
  torch::Tensor divergence(int64_t count, double energy_weight);

  FlowTrainConfig config_;
  FlowData data_;
  std::filesystem::path run_;
  torch::Device device_ = torch::kCPU;
  RunFolder folder_;
  std::shared_ptr<models::Flow> flow_;
  torch::Tensor training_, held_out_;  // indices
  torch::Tensor epoch_order_;
  int64_t epoch_ = -1;
  bool told_unknown_ = false;  // that a validation is not finite
  std::unique_ptr<TrainingLoop> loop_;
};

}  // namespace melflow::engine
