#include "engine/import_waveglow.h"

#include <torch/torch.h>

#include "engine/model_options.h"
#include "engine/tensors.h"

namespace melflow::engine {

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
