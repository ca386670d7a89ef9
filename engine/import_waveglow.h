#pragma once

#include <map>
#include <string>

#include <torch/types.h>
#include <nlohmann/json_fwd.hpp>

#include "engine/files/published_waveglow.h"
#include "models/waveglow.h"

namespace melflow::engine {

/// The model's configuration that a published file asks for (model_config.h).
nlohmann::json waveglow_config(const files::PublishedWaveGlow& published);

/// The options of models::WaveGlow that a published file asks for.
models::WaveGlowOptions waveglow_options(const files::PublishedWaveGlow& published);

/// Tensors under NVIDIA's names (waveglow.state_dict(): upsample, WN.k.…, convinv.k.conv.weight) → under ours, with
/// the configuration read off the shapes; files::read_published_waveglow on tensors that are in memory already.
/// Throws Error{bad_data} that names what is missing or does not fit.
struct ImportedWaveGlow {
  models::WaveGlowOptions options;
  std::map<std::string, torch::Tensor> tensors;
};
ImportedWaveGlow import_waveglow(const std::map<std::string, torch::Tensor>& nvidia, const std::string& name);

}  // namespace melflow::engine
