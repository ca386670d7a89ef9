#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "audio/mel.h"

namespace melflow::engine {

/// What a training run is made of. JSON {"model": {…}, "mel": {…}, "train": {…}}; every key has a default, unknown keys
/// are errors. NVIDIA's config.json (train_config, data_config, waveglow_config) is understood too.
struct TrainConfig {
  nlohmann::json model;  ///< resolved; model_config.h
  audio::MelOptions mel;

  int64_t seed = 1234;
  int64_t steps = 20000;        ///< optimiser steps in all
  int64_t batch_size = 8;       ///< crops a step
  int64_t segment_frames = 32;  ///< mel frames a crop; samples = segment_frames · hop_length
  double learning_rate = 1e-3;
  double final_learning_rate = 0.0;  ///< reached at the last step
  int64_t warmup_steps = 200;
  int64_t decay_steps = 0;  ///< the last so many steps fall linearly; 0: all after the warm-up
  double beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8;
  double gradient_clip = 50.0;  ///< largest norm; 0 leaves gradients as they are
  double ema = 0.999;           ///< decay of the moving average of weights, which becomes the voice; 0: none
  double level = 0.08;          ///< RMS that the corpus is brought to by one gain; 0 leaves it as it is
  double dequantise = 1.0;      ///< uniform noise added, in steps of 16-bit samples; 0: none
  int64_t hold_out_every = 20;  ///< every n-th sentence is kept out for validation; 0: none
  int64_t validation_every = 500, checkpoint_every = 500, sample_every = 2000;  ///< steps; 0: never
  int64_t keep_checkpoints = 3;
  int64_t bad_steps_in_a_row = 20;  ///< non-finite losses or gradients after which the run stops
  double sigma = 1.0;               ///< temperature of samples, recorded in the voice
  std::string name = "voice", licence = "", training_data = "";  ///< for the voice's card
};

/// `sets` are "key=value" overrides: train keys by their names, "model.KEY" and "mel.KEY".
/// Throws Error{config} that names the key, with the nearest one that exists.
TrainConfig parse_train_config(const nlohmann::json& json, const std::vector<std::string>& sets,
                               const std::string& name);
nlohmann::json to_json(const TrainConfig& config);

}  // namespace melflow::engine
