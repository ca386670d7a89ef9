#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/tensors.h"
#include "tests/support/shared.h"

namespace melflow::testing {

inline torch::Tensor npy(const std::filesystem::path& path) {
  const auto array = files::read_npy(path);
  return engine::vector_tensor(array.values).view(array.shape);
}

inline std::map<std::string, torch::Tensor> tensors_of(const std::filesystem::path& path) {
  const files::SafetensorsFile file(path);
  std::map<std::string, torch::Tensor> out;
  for (const auto& [name, view] : file.tensors()) out[name] = engine::tensor_from(view);
  return out;
}

inline nlohmann::json json_of(const std::filesystem::path& path) { return nlohmann::json::parse(std::ifstream(path)); }

/// The points of a run's curve, in order.
inline std::vector<double> curve(const std::filesystem::path& run, const std::string& tag) {
  std::vector<double> out;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains(tag)) out.push_back(json[tag]);
  }
  return out;
}

/// Largest difference over the largest magnitude of the expected values.
inline double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  return ((actual - expected).abs().max() / expected.abs().max()).item<double>();
}

}  // namespace melflow::testing
