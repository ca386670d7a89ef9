#include "engine/flow/flow_file.h"

#include <torch/torch.h>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "engine/flow/registry.h"
#include "engine/load_module.h"
#include "engine/tensors.h"

namespace melflow::engine {

using nlohmann::json;

FlowModel load_flow(const std::filesystem::path& path) {
  const std::string name = path.string();
  const files::SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  if (metadata.contains("train_state"))
    throw Error(Exit::bad_data, name + ": is the checkpoint of a training; take the flow.safetensors of its run");
  const auto text = [&](const std::string& key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) {
      throw Error(Exit::bad_data, name + ": not a melflow flow: metadata '" + key + "' is missing");
    }
    return found->second;
  };
  if (text("melflow_flow_version") != std::to_string(kFlowFormat)) {
    throw Error(Exit::bad_data, name + ": flow format version " + text("melflow_flow_version") +
                                    " is not one that this program reads (" + std::to_string(kFlowFormat) + ")");
  }
  const auto weights = static_cast<double>(files::number_count(file.tensors()));
  const auto config = json::parse(text("flow_config"), nullptr, /*allow_exceptions=*/false);
  FlowModel model{.name = name, .config = {}, .card = metadata, .flow = nullptr};
  try {
    model.config = resolved_flow_config(config, name);
    model.flow = build_flow(model.config, name, weights);
  } catch (const Error& e) {
    throw Error(Exit::bad_data, e.what());  // a bad configuration inside a file is bad data
  }
  load_module(*model.flow, file.tensors(), name);
  for (const auto& part : model.flow->modules()) {
    const auto bijection = std::dynamic_pointer_cast<models::Bijection>(part);
    if (const auto wrong = bijection ? bijection->wrong_buffers() : std::string(); !wrong.empty())
      throw Error(Exit::bad_data, name + ": " + wrong + "; take the file from its source again");
  }
  model.flow->eval();
  for (const char* key : {"format", "melflow_flow_version", "flow_config"}) model.card.erase(key);
  return model;
}

void save_flow(const std::filesystem::path& path, const FlowModel& model, AtomicFile::Existing existing) {
  TensorTable table;
  for (const auto& p : model.flow->named_parameters()) table.add(p.key(), p.value());
  for (const auto& b : model.flow->named_buffers()) table.add(b.key(), b.value());
  auto metadata = model.card;
  metadata["format"] = "pt";
  metadata["melflow_flow_version"] = std::to_string(kFlowFormat);
  metadata["flow_config"] = model.config.dump();
  files::write_safetensors(path, table.views(), metadata, existing);
}

}  // namespace melflow::engine
