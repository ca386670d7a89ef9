#include "engine/train/checkpoint.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <span>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/files/crc32c.h"
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
  if (error && error != std::errc::no_such_file_or_directory) {
    throw Error(Exit::no_input, (run / "checkpoints").string() + ": cannot be read (" + error.message() + ")");
  }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.step > b.step; });
  return found;
}

/// Removes the temporary files (AtomicFile's) of processes that are no more: a writer that was killed leaves one, as
/// large as a checkpoint.
void clear_leftovers(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    long writer = 0;
    int end = 0;
    const auto name = entry.path().filename().string();
    if (std::sscanf(name.c_str(), ".melflow-%ld-%*u.tmp%n", &writer, &end) != 1 || end == 0) continue;
    if (::kill(static_cast<pid_t>(writer), 0) != 0 && errno == ESRCH) fs::remove(entry.path(), error);
  }
}

/// Calls use(name in the file, tensor) for every tensor of a run: one list for saving and loading.
template <typename Use>
void each_tensor(torch::nn::Module& model, const Tensors& buffers, const Tensors& average, Adam& adam, Use&& use) {
  const auto parameters = model.named_parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    use("model." + parameters[i].key(), parameters[i].value());
    use("adam.mean." + parameters[i].key(), adam.means()[i]);
    use("adam.square." + parameters[i].key(), adam.squares()[i]);
  }
  for (const auto& [name, tensor] : buffers) use("buffer." + name, tensor);
  for (const auto& [name, tensor] : average) use("average." + name, tensor);
}

/// Calls use(name in the file, number) for every number of a state: one list for saving and loading.
template <typename State, typename Use>
void each_number(State& state, Use&& use) {
  use("step", state.step);
  use("skipped_steps", state.skipped_steps);
  use("seconds", state.seconds);
  use("best", state.best);
  use("best_is_kept", state.best_is_kept);
  use("since_best", state.since_best);
  use("since_fall", state.since_fall);
  use("plateau_scale", state.plateau_scale);
  use("bad_in_a_row", state.bad_in_a_row);
  use("loss_sum", state.loss_sum);
  use("losses", state.losses);
  use("owes_validation", state.owes_validation);
  use("data", state.data);
}

/// Of all names and bytes: finds out what neither a header nor a length shows.
uint32_t digest(const std::map<std::string, files::TensorView>& tensors) {
  std::string sums;
  for (const auto& [name, view] : tensors) sums += name + " " + std::to_string(files::crc32c(view.bytes)) + "\n";
  return files::crc32c(std::as_bytes(std::span(sums)));
}

/// Of the numbers beside them.
uint32_t digest(const nlohmann::json& facts) {
  const auto text = facts.dump();
  return files::crc32c(std::as_bytes(std::span(text)));
}

/// What the file says beside its tensors. Throws Error{bad_data} where the file is not a whole checkpoint.
nlohmann::json train_state(const files::SafetensorsFile& file, const fs::path& path) {
  const auto text = file.metadata().find("train_state");
  auto facts = text == file.metadata().end() ? nlohmann::json() : nlohmann::json::parse(text->second, nullptr, false);
  if (!facts.is_object()) throw Error(Exit::bad_data, path.string() + ": not a checkpoint of a training run");
  auto read = facts;
  read.erase("facts_digest");
  const bool whole = (!facts.contains("digest") || facts["digest"] == digest(file.tensors())) &&
                     (!facts.contains("facts_digest") || facts["facts_digest"] == digest(read));
  if (!whole) throw Error(Exit::bad_data, path.string() + ": is damaged, its digest is another");
  for (const auto& [name, value] : facts.items()) {
    if (value.is_number()) continue;
    throw Error(Exit::bad_data, path.string() + ": is damaged, its '" + name + "' is no number");
  }
  return facts;
}

TrainState restore(const files::SafetensorsFile& file, const nlohmann::json& facts, const fs::path& path,
                   torch::nn::Module& model, const Tensors& buffers, const Tensors& average, Adam& adam) {
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
    throw Error(Exit::bad_data,
                path.string() +
                    ": holds tensors that this model has not, or an average (ema) that this run does not keep; "
                    "leave that setting as it was");
  }
  TrainState state;
  each_number(state, [&](const char* name, auto& number) { number = facts.value(name, number); });
  if (!facts.contains("best_is_kept")) state.best_is_kept = std::isfinite(state.best) ? 1 : 0;  // of an earlier build
  adam.steps = facts.value("adam_steps", state.step);
  return state;
}

}  // namespace

void save_checkpoint(const fs::path& run, const TrainState& state, torch::nn::Module& model, const Tensors& buffers,
                     const Tensors& average, Adam& adam, int64_t keep) {
  const auto folder = run / "checkpoints";
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(Exit::cannot_create, folder.string() + ": cannot be made (" + error.message() + ")");
  TensorTable table;
  each_tensor(model, buffers, average, adam, [&](const std::string& name, torch::Tensor t) { table.add(name, t); });
  nlohmann::json facts{{"adam_steps", adam.steps}, {"digest", digest(table.views())}};
  each_number(state, [&](const char* name, const auto& number) {
    if (std::isfinite(static_cast<double>(number))) facts[name] = number;  // no validation yet: no best
  });
  facts["facts_digest"] = digest(facts);
  files::write_safetensors(folder / ("step-" + std::to_string(state.step) + ".safetensors"), table.views(),
                           {{"train_state", facts.dump()}}, AtomicFile::Existing::replace);
  for (const auto& place : {folder, run, run / "samples"}) clear_leftovers(place);
  auto all = checkpoints(run);
  std::erase_if(all, [&](const Found& f) { return f.step > state.step; });  // could not be read: not ours to remove
  for (size_t i = static_cast<size_t>(std::max<int64_t>(keep, 1)); i < all.size(); ++i) fs::remove(all[i].path, error);
}

std::optional<TrainState> load_checkpoint(const fs::path& run, torch::nn::Module& model, const Tensors& buffers,
                                          const Tensors& average, Adam& adam) {
  const auto all = checkpoints(run);
  std::vector<fs::path> damaged;
  for (const auto& found : all) {
    std::optional<files::SafetensorsFile> file;
    nlohmann::json facts;
    try {
      facts = train_state(file.emplace(found.path), found.path);
    } catch (const Error& e) {
      std::cerr << e.what() << "; taking the checkpoint before it\n";
      if (e.code() == Exit::bad_data) damaged.push_back(found.path);
      continue;
    }
    // From here on they are not among those that are kept.
    std::error_code error;
    for (const auto& path : damaged) fs::rename(path, path.string() + ".damaged", error);
    return restore(*file, facts, found.path, model, buffers, average, adam);
  }
  if (all.empty()) return std::nullopt;
  throw Error(Exit::bad_data, (run / "checkpoints").string() + ": none of them can be read, and nothing was changed; " +
                                  "fetch them again, or begin a new run");
}

}  // namespace melflow::engine
