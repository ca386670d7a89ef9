#include "engine/load_module.h"

#include <sstream>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/tensors.h"

namespace melflow::engine {

void load_module(torch::nn::Module& model, const std::map<std::string, files::TensorView>& tensors,
                 const std::string& name) {
  torch::NoGradGuard no_grad;
  auto slots = model.named_parameters();
  for (const auto& slot : model.named_buffers()) slots.insert(slot.key(), slot.value());
  for (auto& slot : slots) {
    const auto found = tensors.find(slot.key());
    if (found == tensors.end()) throw Error(Exit::bad_data, name + ": tensor '" + slot.key() + "' is missing");
    const auto& view = found->second;
    if (c10::IntArrayRef(view.shape) != slot.value().sizes()) {
      std::ostringstream text;
      text << name << ": tensor '" << slot.key() << "' has shape " << c10::IntArrayRef(view.shape) << ", not "
           << slot.value().sizes();
      throw Error(Exit::bad_data, text.str());
    }
    slot.value().copy_(tensor_from(view));
    if (!slot.value().isfinite().all().item<bool>()) {
      throw Error(Exit::bad_data, name + ": tensor '" + slot.key() + "' holds NaN or infinity");
    }
  }
  for (const auto& [key, tensor] : tensors) {
    if (!slots.contains(key)) {
      throw Error(Exit::bad_data, name + ": tensor '" + key + "' does not belong to this model");
    }
  }
}

}  // namespace melflow::engine
