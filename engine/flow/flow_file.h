#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "models/flow/flow.h"

namespace melflow::engine {

/// A flow of the family with what it takes to use it. One .safetensors file; docs/FORMATS.md.
struct FlowModel {
  std::string name;                              ///< of the file, for messages
  nlohmann::json config = {};                    ///< resolved; registry.h
  std::map<std::string, std::string> card = {};  ///< data, training_steps, commit, …: text for people
  std::shared_ptr<models::Flow> flow = {};       ///< float32, in evaluation mode; on the CPU, unless it was moved

  torch::Device device() const { return flow->parameters().front().device(); }
};

/// The newest file format version that this program writes and reads.
inline constexpr int kFlowFormat = 1;

/// Nothing in the file is executed; tensors must be exactly those that the configuration asks for.
/// Throws Error{no_input, bad_data}.
FlowModel load_flow(const std::filesystem::path& path);
/// Writes configuration, card and weights, atomically, from whatever device the flow is on. Throws
/// Error{cannot_create, io_error} as AtomicFile does.
void save_flow(const std::filesystem::path& path, const FlowModel& model, AtomicFile::Existing existing);

}  // namespace melflow::engine
