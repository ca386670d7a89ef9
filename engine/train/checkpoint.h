#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include <torch/nn/module.h>

#include "engine/train/adam.h"

namespace melflow::engine {

/// All that a training run needs to go on exactly where it was.
struct TrainState {
  int64_t step = 0;                                       ///< optimiser steps done
  int64_t skipped_steps = 0;                              ///< of them, left out because something was not finite
  double seconds = 0;                                     ///< spent training, over all resumptions
  double best = std::numeric_limits<double>::infinity();  ///< smallest validation so far
  int64_t best_is_kept = 0;     ///< 1: its weights are the run's result, since there is patience
  int64_t since_best = 0;       ///< validations since then
  int64_t since_fall = 0;       ///< validations without a new best since the plateau schedule last cut the rate
  double plateau_scale = 1;     ///< what it has made of the rate
  int64_t bad_in_a_row = 0;     ///< steps just now that were not finite
  double loss_sum = 0;          ///< of the finite steps since the last point of the curve
  int64_t losses = 0;           ///< how many those are
  int64_t owes_validation = 0;  ///< 1: this step's was ended before it was done
  int64_t data = 0;             ///< Objective::data_digest() of what it learned from; 0: not known
};

/// Weights, buffers that training changes, the moving average of the weights (names → tensors, both may be empty) and
/// Adam's moments, in one safetensors file written atomically: RUN/checkpoints/step-N.safetensors. Older ones beyond
/// `keep` are removed after the new one is durable, and so is what writers that were killed left behind.
void save_checkpoint(const std::filesystem::path& run, const TrainState& state, torch::nn::Module& model,
                     const std::map<std::string, torch::Tensor>& buffers,
                     const std::map<std::string, torch::Tensor>& average, Adam& adam, int64_t keep);

/// Restores the newest checkpoint that is whole (a damaged one is named on stderr, passed over and renamed .damaged),
/// into the tensors given; nothing where the run has none. Throws Error{bad_data} where none is whole, or the newest
/// whole one belongs to another model.
std::optional<TrainState> load_checkpoint(const std::filesystem::path& run, torch::nn::Module& model,
                                          const std::map<std::string, torch::Tensor>& buffers,
                                          const std::map<std::string, torch::Tensor>& average, Adam& adam);

}  // namespace melflow::engine
