#include "engine/import_waveglow.h"

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/tensors.h"

namespace melflow::engine {

nlohmann::json waveglow_config(const files::PublishedWaveGlow& published) {
  return {{"system", "waveglow"},
          {"n_mels", published.n_mels},
          {"hop_length", published.hop_length},
          {"n_flows", published.n_flows},
          {"group_size", published.group_size},
          {"early_every", published.early_every},
          {"early_size", published.early_size},
          {"upsample_kernel", published.upsample_kernel},
          {"wavenet_layers", published.wavenet_layers},
          {"wavenet_channels", published.wavenet_channels},
          {"wavenet_kernel", published.wavenet_kernel},
          {"swap_odd_halves", published.swap_odd_halves}};
}

models::WaveGlowOptions waveglow_options(const files::PublishedWaveGlow& published) {
  models::WaveGlowOptions o;
  o.n_mels = published.n_mels;
  o.hop_length = published.hop_length;
  o.n_flows = published.n_flows;
  o.group_size = published.group_size;
  o.early_every = published.early_every;
  o.early_size = published.early_size;
  o.upsample_kernel = published.upsample_kernel;
  o.wavenet_layers = published.wavenet_layers;
  o.wavenet_channels = published.wavenet_channels;
  o.wavenet_kernel = published.wavenet_kernel;
  o.swap_odd_halves = published.swap_odd_halves;
  return o;
}

ImportedWaveGlow import_waveglow(const std::map<std::string, torch::Tensor>& nvidia, const std::string& name) {
  TensorTable table;
  for (const auto& [key, tensor] : nvidia) table.add(key, tensor);
  files::Checkpoint checkpoint;
  for (const auto& [key, view] : table.views()) checkpoint.tensors.emplace(key, files::strided(view));
  const auto published = files::read_published_waveglow(checkpoint, name);
  ImportedWaveGlow out{waveglow_options(published), {}};
  for (const auto& [key, view] : published.tensors) out.tensors[key] = tensor_from(view);
  return out;
}

}  // namespace melflow::engine
