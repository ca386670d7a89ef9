#pragma once

#include <map>
#include <string>

#include <torch/torch.h>

#include "engine/model_options.h"
#include "engine/tensors.h"

namespace melflow::testing {

/// Tensors under NVIDIA's names (waveglow.state_dict(): upsample, WN.k.…, convinv.k.conv.weight) → under ours, with
/// the configuration read off the shapes: files::read_published_waveglow on tensors that are in memory already.
/// Throws Error{bad_data} that names what is missing or does not fit.
struct ImportedWaveGlow {
  models::WaveGlowOptions options;
  std::map<std::string, torch::Tensor> tensors;
};

inline ImportedWaveGlow import_waveglow(const std::map<std::string, torch::Tensor>& nvidia, const std::string& name) {
  engine::TensorTable table;
  for (const auto& [key, tensor] : nvidia) table.add(key, tensor);
  files::Checkpoint checkpoint;
  for (const auto& [key, view] : table.views()) checkpoint.tensors.emplace(key, files::strided(view));
  const auto published = files::read_published_waveglow(checkpoint, name);
  ImportedWaveGlow out{engine::waveglow_options(published), {}};
  for (const auto& [key, view] : published.tensors) out.tensors[key] = engine::tensor_from(view);
  return out;
}

}  // namespace melflow::testing
