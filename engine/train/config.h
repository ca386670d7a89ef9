#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "engine/data/augment.h"
#include "engine/train/loop_options.h"

namespace melflow::engine {

/// What the networks compute in; bf16: LibTorch's autocast, and on a CPU WaveGlow's layers by products of our own in
/// bfloat16. Likelihoods, 1x1 convolutions, their inverses and determinants stay in single precision, as weights and
/// moments do.
enum class TrainPrecision { fp32, bf16 };
std::span<const char* const> enum_names(TrainPrecision);

/// What a training run is made of. JSON {"model": {…}, "mel": {…}, "train": {…}}; every key has a default, unknown keys
/// are errors. NVIDIA's config.json (train_config, data_config, waveglow_config) is understood too.
struct TrainConfig : LoopOptions {
  nlohmann::json model;  ///< resolved; model_config.h
  audio::MelOptions mel;

  int64_t batch_size = 8;       ///< crops a step
  int64_t segment_frames = 32;  ///< mel frames a crop; samples = segment_frames · hop_length
  bool reversible = false;      ///< no activations are kept, inputs are found again: models/flow/reversible.h
  TrainPrecision precision = TrainPrecision::fp32;
  double level = 0.08;          ///< RMS that the corpus is brought to by one gain; 0 leaves it as it is
  double dequantise = 1.0;      ///< uniform noise added, in steps of 16-bit samples; 0: none
  Augmentation augment{};       ///< of crops, as augment, augment_speed, …_gain_db, …_equaliser_db, …_noise
  int64_t hold_out_every = 20;  ///< every n-th sentence is kept out for validation; 0: none
  int64_t shuffle_mb = 512;     ///< decoded sound among which is shuffled; twice as much is in memory at most
  int64_t data_workers = 2;     ///< threads that read and make batches ahead; their number changes nothing
  bool mels = false;            ///< take the mels that lie beside recordings instead of computing them
  double sigma = 1.0;           ///< temperature of samples, recorded in the voice
  int64_t draws = 1;            ///< of noise for each block, of which a BlockFlow takes the best; recorded too
  int64_t refine = 0;           ///< passes that bring samples nearer to their mel; recorded too
  std::string name = "voice", licence = "", training_data = "";  ///< for the voice's card
};

/// `sets` are "key=value" overrides: train keys by their names, "model.KEY" and "mel.KEY".
/// Throws Error{config} that names the key, with the nearest one that exists.
TrainConfig parse_train_config(const nlohmann::json& json, const std::vector<std::string>& sets,
                               const std::string& name);
nlohmann::json to_json(const TrainConfig& config);

}  // namespace melflow::engine
