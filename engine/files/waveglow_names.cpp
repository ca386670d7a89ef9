#include "engine/files/waveglow_names.h"

#include <string_view>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

void replace(std::string& text, const std::string& from, const std::string& to) {
  if (const size_t at = text.find(from); at != std::string::npos) text.replace(at, from.size(), to);
}

}  // namespace

std::optional<std::string> waveglow_path(const std::map<std::string, StridedTensor>& tensors) {
  constexpr std::string_view kMark = "convinv.0.conv.weight";
  std::optional<std::string> best;
  for (const auto& [key, tensor] : tensors) {
    if (!key.ends_with(kMark)) continue;
    const auto path = key.substr(0, key.size() - kMark.size());
    if (!path.empty() && !path.ends_with('.')) continue;
    if (!best || path.size() < best->size()) best = path;
  }
  return best;
}

std::map<std::string, StridedTensor> current_names(const std::map<std::string, StridedTensor>& tensors,
                                                   const std::string& path, const std::string& name) {
  std::map<std::string, StridedTensor> out;
  for (const auto& [key, tensor] : tensors) {
    if (!key.starts_with(path)) continue;
    std::string now = key.substr(path.size());
    if (now.starts_with("wavenet.")) now.replace(0, 7, "WN");  // NeMo
    replace(now, ".parametrizations.weight.original0", ".weight_g");
    replace(now, ".parametrizations.weight.original1", ".weight_v");
    if (now.ends_with(".inv_conv.weight")) continue;  // NeMo keeps a cached inverse
    const bool part = now.starts_with("upsample.") || now.starts_with("WN.") || now.starts_with("convinv.");
    if (!part) continue;  // something else in the same container: an optimiser, a mel front end
    if (!out.emplace(now, tensor).second)
      throw Error(Exit::bad_data, name + ": it holds tensor " + shown_name(now) + " twice");
  }
  return out;
}

std::map<std::string, TensorView> nvidia_state_dict(const std::map<std::string, TensorView>& ours) {
  std::map<std::string, TensorView> out;
  for (const auto& [key, view] : ours) {
    std::string name = key;
    TensorView tensor = view;
    if (name.starts_with("flows_")) {
      const auto k = name.substr(6, name.find('_', 6) - 6);
      if (name.ends_with("_conv1x1.weight")) {
        name = "convinv." + k + ".conv.weight";
        tensor.shape.push_back(1);
      } else {
        name = "WN." + k + name.substr(name.find(".net.") + 4);
        replace(name, "_layers_", "_layers.");
      }
    }
    out[name] = tensor;
  }
  return out;
}

}  // namespace melflow::files
