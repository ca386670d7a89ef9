#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace melflow::engine {

/// How the learning rate goes after the warm-up, from learning_rate to final_learning_rate.
enum class Schedule {
  linear,   ///< falls evenly over the last decay_steps, after a plateau where those are not all
  cosine,   ///< the same along half a cosine
  plateau,  ///< times plateau_factor after every plateau_patience validations in a row without a new best
};
std::span<const char* const> enum_names(Schedule);

/// What every training has, of a vocoder or of another flow: the optimiser (Adam), its schedule, and when to look.
struct LoopOptions {
  int64_t seed = 1234;
  int64_t steps = 20000;   ///< optimiser steps in all
  int64_t accumulate = 1;  ///< batches whose gradients are averaged before each step: one of so many times the size
  double learning_rate = 1e-3;
  double final_learning_rate = 0.0;  ///< reached when all steps are done, or where plateaus end
  int64_t warmup_steps = 200;
  Schedule schedule = Schedule::linear;
  int64_t decay_steps = 0;  ///< linear, cosine: how many steps at the end fall; 0: all after the warm-up
  int64_t plateau_patience = 5;
  double plateau_factor = 0.5;
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
  double weight_decay = 0.0;    ///< decoupled (AdamW): weights shrink by learning rate · weight_decay a step
  double gradient_clip = 50.0;  ///< largest norm; 0 leaves gradients as they are
  double ema = 0.999;           ///< decay of the moving average of weights, which is what gets used; 0: none
  int64_t log_every = 10;       ///< steps whose mean loss is one point of the curve
  int64_t validation_every = 500, checkpoint_every = 500, sample_every = 2000;  ///< steps; 0: never
  int64_t patience = 0;  ///< validations without a new best after which training ends and the best is kept; 0: no end
  int64_t keep_checkpoints = 3;
  int64_t bad_steps_in_a_row = 20;  ///< non-finite losses or gradients after which the run stops

  /// Throws Error{config} for what makes no sense; `name` says whose configuration it is.
  void validate(const std::string& name) const;
};

template <typename Visit>
void loop_fields(LoopOptions& o, Visit&& visit) {
  visit("seed", o.seed);
  visit("steps", o.steps);
  visit("accumulate", o.accumulate);
  visit("learning_rate", o.learning_rate);
  visit("final_learning_rate", o.final_learning_rate);
  visit("warmup_steps", o.warmup_steps);
  visit("schedule", o.schedule);
  visit("decay_steps", o.decay_steps);
  visit("plateau_patience", o.plateau_patience);
  visit("plateau_factor", o.plateau_factor);
  visit("beta1", o.beta1);
  visit("beta2", o.beta2);
  visit("epsilon", o.epsilon);
  visit("weight_decay", o.weight_decay);
  visit("gradient_clip", o.gradient_clip);
  visit("ema", o.ema);
  visit("log_every", o.log_every);
  visit("validation_every", o.validation_every);
  visit("checkpoint_every", o.checkpoint_every);
  visit("sample_every", o.sample_every);
  visit("patience", o.patience);
  visit("keep_checkpoints", o.keep_checkpoints);
  visit("bad_steps_in_a_row", o.bad_steps_in_a_row);
}

/// Checks that `root` has no other sections than these, then writes each "key=value" into the section that the key
/// names ("model.hidden=64"), the first one where it names none; a value that is no JSON is text.
/// Throws Error{config, usage}.
void apply_sets(nlohmann::json& root, const std::vector<std::string>& sets, const std::vector<std::string>& sections,
                const std::string& name);

/// Throws Error{config} where the settings make another system of the model that goes on: that of `root`, from `name`.
void require_same_system(const nlohmann::json& root, const std::vector<std::string>& sets, const std::string& name);

}  // namespace melflow::engine
