#pragma once

#include <string>
#include <variant>

#include <nlohmann/json_fwd.hpp>

#include "engine/files/published_waveglow.h"
#include "models/block_flow_options.h"
#include "models/waveglow_options.h"

namespace melflow::engine {

/// The sizes of any vocoder: all that must be known to read its file and to run it, without building its model.
using ModelOptions = std::variant<models::WaveGlowOptions, models::BlockFlowOptions>;

/// {"system": "waveglow", "n_flows": 12, …} ↔ the options of that vocoder. The one place that knows a vocoder's name
/// and fields in configurations. Where a model is built (model_config.cpp) or a stream opened (synth/stream.cpp,
/// synth/gpu_stream.cpp), vocoders are told apart by their options' type; from NVIDIA's configuration
/// (train/config.cpp) comes a "waveglow". Keys that are left out keep their defaults. Throws Error{config} that names
/// an unknown key and its nearest name, or a value that makes no sense; `name` says whose configuration it is.
ModelOptions parse_model_options(const nlohmann::json& config, const std::string& name);

/// With every key written out.
nlohmann::json model_config(const ModelOptions& options);
nlohmann::json resolved_model_config(const nlohmann::json& config, const std::string& name);

/// What a published file asks for.
models::WaveGlowOptions waveglow_options(const files::PublishedWaveGlow& published);

/// What every system has.
int64_t n_mels(const ModelOptions& options);
int64_t hop_length(const ModelOptions& options);
int64_t group_size(const ModelOptions& options);
models::Reach reach(const ModelOptions& options);
int64_t first_sample_frames(const ModelOptions& options);
/// Frames that something behind the model, of a delay of its own, adds to those: a WaveGlow begins with less than a
/// hop, and what follows it wants whole ones.
int64_t frames_behind(const ModelOptions& options, int64_t delay);
/// Whether it may take the best of several draws of noise for each group: a BlockFlow, that is.
bool chooses_draws(const ModelOptions& options);
double weight_count(const ModelOptions& options);
/// Throws Error{config} where the model has more than `most` weights.
void require_weights(const ModelOptions& options, double most, const std::string& name);

/// Throws Error{bad_data} unless the tensors are exactly the model's, shape for shape, of real numbers, and finite.
void require_tensors(const std::map<std::string, files::TensorView>& tensors, const models::TensorShapes& wanted,
                     const std::string& name);

}  // namespace melflow::engine
