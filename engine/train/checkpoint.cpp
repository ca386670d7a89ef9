#include "engine/train/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "engine/files/safetensors.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, torch::Tensor>;

struct Found {
  int64_t step;
  fs::path path;
};

/// Newest first.
std::vector<Found> checkpoints(const fs::path& run) {
  std::vector<Found> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error)) {
    const auto stem = entry.path().stem().string();
    if (entry.path().extension() != ".safetensors" || stem.rfind("step-", 0) != 0) continue;
    const auto digits = stem.substr(5);
    if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    found.push_back({std::stoll(digits), entry.path()});
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.step > b.step; });
  return found;
}

torch::optim::AdamParamState& moments(torch::optim::Adam& adam, const torch::Tensor& parameter) {
  auto& slot = adam.state()[parameter.unsafeGetTensorImpl()];
  if (!slot) {
    auto fresh = std::make_unique<torch::optim::AdamParamState>();
    fresh->step(0);
    fresh->exp_avg(torch::zeros_like(parameter));
    fresh->exp_avg_sq(torch::zeros_like(parameter));
    slot = std::move(fresh);
  }
  return static_cast<torch::optim::AdamParamState&>(*slot);
}

/// Calls use(name in the file, tensor) for every tensor of a run: one list for saving and loading.
template <typename Use>
void each_tensor(torch::nn::Module& model, const Tensors& buffers, const Tensors& average, torch::optim::Adam& adam,
                 Use&& use) {
  for (const auto& p : model.named_parameters()) {
    auto& state = moments(adam, p.value());
    use("model." + p.key(), p.value());
    use("adam.mean." + p.key(), state.exp_avg());
    use("adam.square." + p.key(), state.exp_avg_sq());
  }
  for (const auto& [name, tensor] : buffers) use("buffer." + name, tensor);
  for (const auto& [name, tensor] : average) use("average." + name, tensor);
}

TrainState restore(const fs::path& path, torch::nn::Module& model, const Tensors& buffers, const Tensors& average,
                   torch::optim::Adam& adam) {
  const files::SafetensorsFile file(path);
  const auto text = file.metadata().find("train_state");
  const auto json =
      text == file.metadata().end() ? nlohmann::json() : nlohmann::json::parse(text->second, nullptr, false);
  if (!json.is_object()) throw Error(Exit::bad_data, path.string() + ": not a checkpoint of a training run");
  torch::NoGradGuard no_grad;
  size_t used = 0;
  each_tensor(model, buffers, average, adam, [&](const std::string& name, torch::Tensor tensor) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end() || found->second.shape != tensor.sizes().vec()) {
      throw Error(Exit::bad_data, path.string() + ": tensor '" + name +
                                      "' is missing or of another shape; the run was made with another configuration");
    }
    tensor.copy_(tensor_from(found->second));
    ++used;
  });
  if (used != file.tensors().size()) {
    throw Error(Exit::bad_data, path.string() + ": holds tensors that this model has not");
  }
  TrainState state{.step = json.value("step", int64_t{0}),
                   .skipped_steps = json.value("skipped_steps", int64_t{0}),
                   .seconds = json.value("seconds", 0.0)};
  state.best = json.value("best", state.best);
  state.since_best = json.value("since_best", state.since_best);
  for (const auto& p : model.parameters()) moments(adam, p).step(json.value("adam_steps", state.step));
  return state;
}

}  // namespace

void save_checkpoint(const fs::path& run, const TrainState& state, torch::nn::Module& model, const Tensors& buffers,
                     const Tensors& average, torch::optim::Adam& adam, int64_t keep) {
  const auto folder = run / "checkpoints";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(Exit::cannot_create, folder.string() + ": cannot be made (" + error.message() + ")");
  TensorTable table;
  each_tensor(model, buffers, average, adam, [&](const std::string& name, torch::Tensor t) { table.add(name, t); });
  nlohmann::json json{{"step", state.step},
                      {"skipped_steps", state.skipped_steps},
                      {"seconds", state.seconds},
                      {"adam_steps", state.step - state.skipped_steps}};
  if (std::isfinite(state.best)) {
    json["best"] = state.best;
    json["since_best"] = state.since_best;
  }
  files::write_safetensors(folder / ("step-" + std::to_string(state.step) + ".safetensors"), table.views(),
                           {{"train_state", json.dump()}}, AtomicFile::Existing::replace);
  const auto all = checkpoints(run);
  for (size_t i = static_cast<size_t>(std::max<int64_t>(keep, 1)); i < all.size(); ++i) fs::remove(all[i].path, error);
}

std::optional<TrainState> load_checkpoint(const fs::path& run, torch::nn::Module& model, const Tensors& buffers,
                                          const Tensors& average, torch::optim::Adam& adam) {
  for (const auto& found : checkpoints(run)) {
    try {
      files::SafetensorsFile whole(found.path);
    } catch (const Error& e) {
      std::cerr << e.what() << "; taking the checkpoint before it\n";
      continue;
    }
    return restore(found.path, model, buffers, average, adam);
  }
  return std::nullopt;
}

}  // namespace melflow::engine
