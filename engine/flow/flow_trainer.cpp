#include "engine/flow/flow_trainer.h"

#include <cmath>
#include <iostream>
#include <limits>
#include <numbers>
#include <span>

#include <torch/torch.h>

#include "base/atomic_file.h"
#include "base/error.h"
#include "engine/build_info.h"
#include "engine/files/crc32c.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"

namespace melflow::engine {
namespace {

constexpr int64_t kValidationItems = 4096;  // of a toy or an energy

/// A seed for one purpose at one step: none of them meets another.
uint64_t seed_for(int64_t seed, uint64_t purpose, int64_t step) {
  return (static_cast<uint64_t>(seed) * 3 + purpose) * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(step);
}
enum Purpose : uint64_t { kTrainingNoise, kValidationNoise, kOrder };

/// The averaged weights in the model for as long as this lives; the model's own come back bit for bit.
class Averaged {
 public:
  Averaged(torch::nn::Module& model, const Weights& average) : model_(model) {
    torch::NoGradGuard no_grad;
    for (auto& p : model_.named_parameters()) {
      const auto found = average.find(p.key());
      if (found == average.end()) continue;
      own_[p.key()] = p.value().clone();
      p.value().copy_(found->second);
    }
    model_.eval();
  }
  ~Averaged() {
    torch::NoGradGuard no_grad;
    for (auto& p : model_.named_parameters()) {
      if (own_.contains(p.key())) p.value().copy_(own_[p.key()]);
    }
  }
  Averaged(const Averaged&) = delete;
  Averaged& operator=(const Averaged&) = delete;

 private:
  torch::nn::Module& model_;
  Weights own_;
};

/// A run goes on as the function that it was: other options may fit the same weights, and mean another flow.
void require_model_of(const std::filesystem::path& run, const nlohmann::json& model) {
  const auto before = stored_config(run);
  if (!before.contains("model")) return;
  const auto told = config_path(run).string();
  const auto theirs = resolved_flow_config(before["model"], told);
  for (const auto& [key, value] : model.items()) {
    if (theirs.value(key, nlohmann::json()) == value) continue;
    throw Error(Exit::config, told + ": model." + key + " is " + theirs.value(key, nlohmann::json()).dump() +
                                  " in the run that is to go on, not " + value.dump() +
                                  "; leave it so, or begin a new run");
  }
}

}  // namespace

FlowTrainer::FlowTrainer(const FlowTrainConfig& config, FlowData data, std::filesystem::path run, bool resume,
                         torch::Device device)
    : config_(config), data_(std::move(data)), run_(std::move(run)), folder_(run_, resume) {
  if (resume) require_model_of(run_, config_.model);
  if (data_.x.defined()) split(data_.x.size(0));
  torch::manual_seed(static_cast<uint64_t>(config_.seed));
  flow_ = build_flow(config_.model, "the configuration");
  prepare_model();  // on the CPU: the first weights are the same on every device
  device_ = device;
  flow_->to(device_);
  loop_ = std::make_unique<TrainingLoop>(config_, static_cast<Objective&>(*this), run_);
}

void FlowTrainer::split(int64_t items) {
  auto random = generator(seed_for(config_.seed, kOrder, -1));
  const bool own_file = data_.validation_items > 0;
  auto order = torch::randperm(items - data_.validation_items, random, torch::TensorOptions().dtype(torch::kInt64));
  if (own_file) order = torch::cat({torch::arange(order.size(0), items, torch::kInt64), order});
  const auto kept_out =
      own_file ? data_.validation_items : static_cast<int64_t>(config_.hold_out * static_cast<double>(items));
  if (items - kept_out < 1) throw Error(Exit::bad_data, data_.name + ": too few items to train on");
  held_out_ = std::get<0>(order.narrow(0, 0, kept_out).sort());
  if (own_file && is_of_pixels(config_.model)) {  // before anything is learned
    require_pixels(data_.x.index_select(0, held_out_), config_.model.at("pixel_levels"), data_.validation_name);
  }
  training_ = order.narrow(0, kept_out, items - kept_out).contiguous();
  const auto classes = hears_numbers(config_.model) ? 0 : config_.model.at("context").get<int64_t>();
  if (classes == 0) return;
  const auto heard = torch::bincount(data_.labels.index_select(0, training_), {}, classes);
  if ((heard > 0).all().item<bool>()) return;
  if (own_file) {
    throw Error(Exit::bad_data, data_.name + ": has nothing of class " +
                                    std::to_string(heard.argmin().item<int64_t>()) + ", which " +
                                    data_.validation_name + " has; number the classes from 0, without gaps");
  }
  throw Error(Exit::bad_data, data_.name + ": all of class " + std::to_string(heard.argmin().item<int64_t>()) +
                                  " is kept out for validation; another seed, or a smaller hold_out");
}

void FlowTrainer::prepare_model() {
  if (data_.energy != nullptr) return;
  torch::NoGradGuard no_grad;
  if (data_.x.defined() && data_.x.dim() == 2) fit_standardise(*flow_, data_.x.index_select(0, training_));
  if (data_.context.defined()) fit_context(*flow_, data_.context.index_select(0, training_));
  flow_->train();
  mean_loss(training_batch(0), seed_for(config_.seed, kTrainingNoise, 0));
}

Weights FlowTrainer::changing_buffers() {
  Weights buffers;
  for (const auto& b : flow_->named_buffers()) buffers[b.key()] = b.value();
  return buffers;
}

FlowBatch FlowTrainer::training_batch(int64_t index) {
  if (data_.toy != nullptr) return draw(data_, config_.batch_size, seed_for(config_.seed, kTrainingNoise, index));
  // Each pass over the items in an order of its own; what does not fill a batch at its end waits for another pass.
  const auto items = training_.size(0), size = std::min(config_.batch_size, items), batches = items / size;
  if (const auto epoch = index / batches; epoch != epoch_) {
    auto random = generator(seed_for(config_.seed, kOrder, epoch));
    epoch_order_ =
        training_.index_select(0, torch::randperm(items, random, torch::TensorOptions().dtype(torch::kInt64)));
    epoch_ = epoch;
  }
  return take(data_, epoch_order_.narrow(0, index % batches * size, size));
}

torch::Tensor FlowTrainer::mean_loss(const FlowBatch& batch, uint64_t seed) {
  const auto mean = log_prob(*flow_, config_.model, batch, seed, data_.name).mean();
  if (!is_of_pixels(config_.model)) return -mean;
  return mean * (-1 / (static_cast<double>(flow_->shape().numel()) * std::numbers::ln2));
}

torch::Tensor FlowTrainer::divergence(int64_t count, double energy_weight) {
  const auto drawn = flow_->draw(torch::randn(flow_->shape().sizes(count)).to(device_));
  return (drawn.log_prob + data_.energy->energy(drawn.x) * energy_weight).mean();
}

int64_t FlowTrainer::data_digest() const {
  std::string all = data_.name;
  if (data_.x.defined()) {  // whatever the file is called; the items that are held out belong to it
    all = std::to_string(config_.hold_out) + " " + std::to_string(config_.seed) + "\n";
    if (data_.validation_items > 0) all += std::to_string(data_.validation_items) + "\n";
  }
  for (const auto& tensor : {data_.x, data_.labels, data_.context}) {
    if (!tensor.defined()) continue;
    const auto values = tensor.contiguous();
    for (const auto size : values.sizes()) all += std::to_string(size) + " ";
    all += std::to_string(files::crc32c({static_cast<const std::byte*>(values.data_ptr()), values.nbytes()})) + "\n";
  }
  return files::crc32c(std::as_bytes(std::span(all)));
}

std::string FlowTrainer::unit() const {
  if (data_.energy != nullptr) return "nats of KL";
  return is_of_pixels(config_.model) ? "bits/dim" : "nats";
}

torch::Tensor FlowTrainer::loss(int64_t batch) {
  if (data_.energy == nullptr) return mean_loss(training_batch(batch), seed_for(config_.seed, kTrainingNoise, batch));
  const double rise = config_.anneal * static_cast<double>(config_.steps * config_.accumulate);
  const double weight = rise > 0 ? std::min(1.0, 0.01 + static_cast<double>(batch) / rise) : 1.0;
  return divergence(config_.batch_size, weight) + data_.energy->log_normaliser;
}

std::optional<double> FlowTrainer::validate(const Weights& average, const Stop& stop) {
  torch::NoGradGuard no_grad;
  const Averaged weights(*flow_, average);
  if (data_.energy != nullptr) {
    torch::manual_seed(seed_for(config_.seed, kValidationNoise, 0));
    return divergence(kValidationItems, 1.0).item<double>() + data_.energy->log_normaliser;
  }
  const auto noise = seed_for(config_.seed, kValidationNoise, 0);
  if (data_.toy != nullptr) return mean_loss(draw(data_, kValidationItems, noise), noise).item<double>();
  if (held_out_.size(0) == 0) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const auto& part : held_out_.split(items_at_once(flow_->shape()))) {
    if (stop()) return {};
    sum += mean_loss(take(data_, part), noise).item<double>() * static_cast<double>(part.size(0));
  }
  const bool known = std::isfinite(sum);
  if (!known && !told_unknown_) {
    std::cerr << "a kept-out item of " << (data_.validation_items > 0 ? data_.validation_name : data_.name)
              << " has no density in single precision: the validation is not known, and nothing stops early by it\n";
    told_unknown_ = true;
  }
  return known ? sum / static_cast<double>(held_out_.size(0)) : std::numeric_limits<double>::quiet_NaN();
}

void FlowTrainer::write_result(const TrainState& state, const Weights& average) {
  const Averaged weights(*flow_, average);
  save_flow(run_ / "flow.safetensors",
            {.name = data_.name,
             .config = config_.model,
             .card = {{"training_data", data_.name},
                      {"training_steps", std::to_string(state.step)},
                      {"skipped_steps", std::to_string(state.skipped_steps)},
                      {"training_seconds", std::to_string(static_cast<int64_t>(state.seconds))},
                      {"seed", std::to_string(config_.seed)},
                      {"commit", commit()}},
             .flow = flow_},
            AtomicFile::Existing::replace);
}

void FlowTrainer::run(const Stop& stop, const std::function<void(const Progress&)>& report) {
  store_config(run_, to_json(config_));
  loop_->run(stop, report);
}

}  // namespace melflow::engine
