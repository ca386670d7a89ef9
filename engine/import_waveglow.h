#pragma once

#include <map>
#include <string>

#include <torch/types.h>

#include "models/waveglow_options.h"

namespace melflow::engine {

/// Tensors under NVIDIA's names (waveglow.state_dict(): upsample, WN.k.…, convinv.k.conv.weight) → under ours, with
/// the configuration read off the shapes; files::read_published_waveglow on tensors that are in memory already.
/// Throws Error{bad_data} that names what is missing or does not fit.
struct ImportedWaveGlow {
  models::WaveGlowOptions options;
  std::map<std::string, torch::Tensor> tensors;
};
ImportedWaveGlow import_waveglow(const std::map<std::string, torch::Tensor>& nvidia, const std::string& name);

}  // namespace melflow::engine
