#include "engine/train/loop.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include <torch/torch.h>

#include "base/error.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The speed since it was made, and the share of that time that went in waiting for data.
struct Meter {
  explicit Meter(const Objective& objective) : waited(objective.data_wait_seconds()) {}
  Clock::time_point since = Clock::now();
  double steps = 0, waited;
  double steps_per_second() const { return steps / seconds_since(since); }
  double wait(const Objective& objective) const {
    return (objective.data_wait_seconds() - waited) / seconds_since(since);
  }
};

double mean_loss(const TrainState& state) {
  return state.losses > 0 ? state.loss_sum / static_cast<double>(state.losses)
                          : std::numeric_limits<double>::quiet_NaN();
}

/// Copies of all parameters, by name.
Weights snapshot(const torch::nn::Module& model) {
  Weights out;
  for (const auto& p : model.named_parameters()) out[p.key()] = p.value().detach().clone();
  return out;
}

}  // namespace

TrainingLoop::TrainingLoop(const LoopOptions& options, Objective& objective, fs::path run, Processes* processes)
    : options_(options),
      objective_(objective),
      run_(std::move(run)),
      processes_(processes),
      adam_(objective.model().parameters(), {options.beta1, options.beta2, options.epsilon, options.weight_decay}) {
  if (options_.ema > 0) average_ = snapshot(objective_.model());
  auto buffers = objective_.changing_buffers();
  if (const auto state = load_checkpoint(run_, objective_.model(), buffers, average_, adam_)) state_ = *state;
  if (state_.step > options_.steps) {
    throw Error(Exit::config, run_.string() + ": is at step " + std::to_string(state_.step) +
                                  " already, beyond train.steps, which is " + std::to_string(options_.steps) +
                                  "; give a larger number to go on");
  }
  const auto data = objective_.data_digest();
  data_changed_ = state_.data != 0 && data != state_.data;
  state_.data = data;
  // How well it did on other data is no measure of what comes, nor is a best that nobody kept.
  if (data_changed_ || (options_.patience > 0 && state_.best_is_kept == 0)) {
    state_.best_is_kept = 0;
    state_.best = std::numeric_limits<double>::infinity();
    state_.since_best = state_.since_fall = 0;
  }
  if (processes_ == nullptr) return;
  processes_->require_same(data, run_.string() +
                                     ": the processes hear different recordings; give all of them the same "
                                     "--data");
  processes_->require_same(
      state_.step,
      run_.string() + ": the processes begin at different steps; it must be one folder that all of them see");
  processes_->share_gradients(objective_.model().parameters());
}

void TrainingLoop::restart_average() {
  if (!average_.empty()) average_ = snapshot(objective_.model());
}

double TrainingLoop::learning_rate() const {
  const auto step = static_cast<double>(state_.step), steps = static_cast<double>(options_.steps);
  const auto warmup = static_cast<double>(options_.warmup_steps);
  if (step < warmup) return options_.learning_rate * (step + 1) / warmup;
  if (options_.schedule == Schedule::plateau) {
    return std::max(options_.final_learning_rate, options_.learning_rate * state_.plateau_scale);
  }
  const double all = steps - warmup, some = static_cast<double>(options_.decay_steps);
  const double decay = some > 0 ? std::min(some, all) : all;
  double left = std::clamp((steps - step) / std::max(decay, 1.0), 0.0, 1.0);
  if (options_.schedule == Schedule::cosine) left = (1 - std::cos(std::numbers::pi * left)) / 2;
  return options_.final_learning_rate + (options_.learning_rate - options_.final_learning_rate) * left;
}

double TrainingLoop::gradients() {
  const auto parts = options_.accumulate;
  double sum = 0;
  adam_.zero_grad();
  for (int64_t batch = state_.step * parts; batch < (state_.step + 1) * parts; ++batch) {
    // What the model itself draws is a function of the batch too, so that a resumed run goes on exactly.
    torch::manual_seed(static_cast<uint64_t>(options_.seed) * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(batch));
    const auto loss = objective_.loss(batch) / static_cast<double>(parts);
    // Of several processes: gradients are summed here first, and averaged over all with the last part.
    const bool last = batch + 1 == (state_.step + 1) * parts;
    if (processes_ != nullptr && last) {
      processes_->backward(loss);
    } else {
      loss.backward();
    }
    sum += loss.item<double>();
  }
  return processes_ == nullptr ? sum : processes_->mean(sum);
}

double TrainingLoop::train_step() {
  objective_.model().train();
  rate_ = learning_rate();
  Weights before;  // the buffers that batches move: one that is left out moves nothing
  for (const auto& [name, buffer] : objective_.changing_buffers()) before[name] = buffer.clone();
  const double value = gradients();
  const double norm = adam_.clip(options_.gradient_clip);
  ++state_.step;
  if (!std::isfinite(value) || !std::isfinite(norm)) {
    ++state_.skipped_steps;
    for (auto& [name, buffer] : objective_.changing_buffers()) buffer.copy_(before.at(name));
    if (++state_.bad_in_a_row >= options_.bad_steps_in_a_row) {
      throw Error(Exit::bad_data, run_.string() + ": " + std::to_string(state_.bad_in_a_row) +
                                      " steps in a row were not finite; lower the learning rate, then --resume");
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
  state_.bad_in_a_row = 0;
  adam_.step(rate_);
  update_average();
  return value;
}

void TrainingLoop::update_average() {
  if (average_.empty()) return;
  torch::NoGradGuard no_grad;
  // Short at first, so that the average does not remember the random start.
  const double decay =
      std::min(options_.ema, (1.0 + static_cast<double>(state_.step)) / (10.0 + static_cast<double>(state_.step)));
  std::vector<torch::Tensor> averages, weights;
  for (const auto& p : objective_.model().named_parameters()) {
    averages.push_back(average_.at(p.key()));
    weights.push_back(p.value());
  }
  torch::_foreach_lerp_(averages, weights, 1 - decay);
}

std::optional<double> TrainingLoop::validated(RunLog& log, const Stop& stop) {
  const auto value = objective_.validate(average_, stop);
  const auto raw = value && !average_.empty() ? objective_.validate({}, stop) : value;
  if (!raw) return {};
  auto points = objective_.curves();
  points.emplace_back(objective_.validation_tag(), *value);
  if (!average_.empty()) points.emplace_back(objective_.validation_tag() + "_raw", *raw);
  log.scalars(state_.step, points);
  return value;
}

void TrainingLoop::validate(RunLog* log, const Stop& stop) {
  std::optional<double> value = 0;
  if (log != nullptr) value = validated(*log, stop);
  const bool stopped = ended(!value);
  state_.owes_validation = stopped ? 1 : 0;
  if (!stopped) heed(processes_ != nullptr ? processes_->from_first(*value) : *value);
}

void TrainingLoop::heed(double value) {
  if (std::isnan(value) || (std::isinf(value) && std::isinf(state_.best))) return;  // nothing is known
  if (value < state_.best) {
    state_.best = value;
    state_.since_best = state_.since_fall = 0;
    state_.best_is_kept = options_.patience > 0 ? 1 : 0;
    if (options_.patience > 0 && writes()) objective_.write_result(state_, average_);
    return;
  }
  ++state_.since_best;
  if (options_.schedule == Schedule::plateau && ++state_.since_fall >= options_.plateau_patience) {
    state_.since_fall = 0;
    state_.plateau_scale *= options_.plateau_factor;
  }
}

bool TrainingLoop::due(int64_t every) const {
  return every > 0 && (state_.step % every == 0 || state_.step == options_.steps);
}

bool TrainingLoop::measure(RunLog* log, const Stop& stop) {
  state_.owes_validation = 0;
  if (due(options_.validation_every)) validate(log, stop);
  if (state_.owes_validation != 0) return false;
  if (log != nullptr && due(options_.sample_every)) objective_.write_samples(*log, state_.step, average_);
  return true;
}

void TrainingLoop::log_loss(RunLog& log, double items_per_second, double data_wait) {
  log.scalars(state_.step, {{"loss", mean_loss(state_)},
                            {"learning_rate", rate_},
                            {objective_.item_unit() + "_per_second", items_per_second},
                            {"data_wait", data_wait},
                            {"skipped_steps", static_cast<double>(state_.skipped_steps)}});
  state_.loss_sum = 0;
  state_.losses = 0;
}

void TrainingLoop::require_finite() {
  const auto check = [&](const std::string& name, const torch::Tensor& values) {
    if (values.isfinite().all().item<bool>()) return;
    throw Error(Exit::bad_data, run_.string() + ": '" + name + "' holds NaN or infinity after step " +
                                    std::to_string(state_.step) +
                                    "; --resume goes on from the checkpoint before, with a smaller learning rate or a "
                                    "larger train.epsilon");
  };
  for (const auto& p : objective_.model().named_parameters()) check(p.key(), p.value());
  for (const auto& [name, values] : average_) check(name, values);
}

void TrainingLoop::save(RunLog& log) {
  log.flush();  // first: what a checkpoint has behind it is on record
  require_finite();
  if (options_.patience == 0) state_.best_is_kept = 0;
  save_checkpoint(run_, state_, objective_.model(), objective_.changing_buffers(), average_, adam_,
                  options_.keep_checkpoints);
  if (state_.best_is_kept == 0) objective_.write_result(state_, average_);
}

void TrainingLoop::run(const Stop& stop, const std::function<void(const Progress&)>& report) {
  std::optional<RunLog> log;
  if (writes()) log.emplace(run_, state_.step);
  const double items = objective_.items_per_batch() * static_cast<double>(options_.accumulate);
  Meter reported(objective_), logged(objective_);
  bool saved = false, whole = true;
  if (state_.owes_validation != 0) {
    whole = measure(log ? &*log : nullptr, stop);
    if (log) save(*log);  // at once, so that it is on record once
    saved = true;
  }
  while (whole && state_.step < options_.steps && !ended(out_of_patience() || stop())) {
    const auto begin = Clock::now();
    const double value = train_step();
    state_.seconds += seconds_since(begin);
    saved = false;
    ++reported.steps;
    ++logged.steps;
    if (std::isfinite(value)) {
      state_.loss_sum += value;
      ++state_.losses;
    }
    if (log && (seconds_since(reported.since) >= 1 || state_.step == options_.steps)) {
      const double rate = reported.steps_per_second();
      report({state_.step, options_.steps, mean_loss(state_), rate * items,
              static_cast<double>(options_.steps - state_.step) / rate, reported.wait(objective_)});
      reported = Meter(objective_);
    }
    if (log && (state_.step % options_.log_every == 0 || state_.step == options_.steps)) {
      log_loss(*log, logged.steps_per_second() * items, logged.wait(objective_));
      logged = Meter(objective_);
    }
    whole = measure(log ? &*log : nullptr, stop);
    if (log && whole && due(options_.checkpoint_every)) {
      save(*log);
      saved = true;
    }
  }
  if (log && !saved) save(*log);
}

}  // namespace melflow::engine
