#include "engine/flow/flow_pictures.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/files/chart.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"
#include "engine/tensors.h"
#include "engine/train/run_folder.h"

namespace melflow::engine {
namespace {

using files::Window;

void require_plane(const FlowModel& model, const torch::Tensor& context = {}) {
  const auto& shape = model.flow->shape();
  if (shape.channels != 2 || shape.image()) {
    throw Error(Exit::usage, model.name +
                                 ": this picture is of flows in the plane (2 columns); the training curve is drawn of "
                                 "any flow, of images also --kind images and interpolation");
  }
  if (shape.context > 0 && !context.defined()) {
    throw Error(Exit::usage, model.name +
                                 ": is conditional; its density and its grid are drawn of what --given names, samples "
                                 "beside data are not");
  }
}

/// A row of context for each of `items`, on the flow's device.
torch::Tensor for_each(const FlowModel& model, const torch::Tensor& context, int64_t items) {
  return context.defined() ? context.expand({items, -1}).contiguous().to(model.device()) : context;
}

/// `count` rows of a file, or all of fewer, wherever they lie: files are often sorted.
torch::Tensor some_rows(const torch::Tensor& x, int64_t count, uint64_t seed) {
  if (x.size(0) <= count) return x;
  auto random = generator(seed);
  const auto order = torch::randperm(x.size(0), random, torch::TensorOptions().dtype(torch::kInt64));
  return x.index_select(0, order.narrow(0, 0, count));
}

/// The middle 98 % of each column and some air; the toys and energies know their own.
Window window_of(const FlowData& data) {
  double centre[2] = {0, 0}, half[2] = {4, 4};
  if (data.toy != nullptr) half[0] = half[1] = data.toy->reach;
  if (data.toy != nullptr && data.toy->name == "banana") centre[0] = 4;
  if (data.toy != nullptr && data.toy->name == "two_moons") centre[0] = 0.5;
  if (data.x.defined()) {
    const auto ends = torch::quantile(some_rows(data.x, 100000, 0), torch::tensor({0.01f, 0.99f}), 0);
    for (int i = 0; i < 2; ++i) {
      centre[i] = (ends[0][i] + ends[1][i]).item<double>() / 2;
      const double spread = (ends[1][i] - ends[0][i]).item<double>();
      half[i] = spread > 0 ? spread * 0.65 : std::max(1e-3, std::abs(centre[i]));  // a column of one value
    }
  }
  return {centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1]};
}

/// The middles of cells: [cells², 2], the lowest row first.
torch::Tensor cells_of(const Window& w, int64_t cells) {
  const auto t = (torch::arange(cells, torch::kFloat32) + 0.5) / static_cast<double>(cells);
  const auto grid = torch::cartesian_prod({w.bottom + t * (w.top - w.bottom), w.left + t * (w.right - w.left)});
  return grid.flip(1).contiguous();
}

std::vector<float> energy_or_toy(const FlowData& data, const torch::Tensor& x) {
  if (data.toy != nullptr) return tensor_vector(data.toy->log_prob(x.to(torch::kFloat64)).exp().to(torch::kFloat32));
  return tensor_vector((-data.energy->energy(x)).exp());
}

/// As the run's own configuration tells it: of images, of a vocoder, or of rows and energies.
std::string unit_of_loss(const std::filesystem::path& run) {
  const auto config = stored_config(run);
  if (config.is_null()) return "nats";
  const auto height = nlohmann::json::json_pointer("/model/height");
  const bool pixels = config.contains(height) && config.at(height).is_number() && is_of_pixels(config.at("model"));
  return pixels ? "bits/dim" : config.contains("mel") ? "nats per sample" : "nats";
}

}  // namespace

files::Image picture_samples(const FlowModel& model, const FlowData& data, int64_t count, uint64_t seed) {
  require_plane(model);
  std::vector<std::vector<float>> sets{tensor_vector(sample_flow(model, 0, count, {.seed = seed}))};
  if (data.toy != nullptr) sets.push_back(tensor_vector(draw(data, count, seed).x));
  if (data.x.defined()) sets.push_back(tensor_vector(some_rows(data.x, count, seed)));
  return files::scatter_picture(sets, window_of(data));
}

files::Image picture_density(const FlowModel& model, const FlowData& data, const torch::Tensor& context) {
  require_plane(model, context);
  torch::NoGradGuard no_grad;
  constexpr int kCells = 128;
  const auto window = window_of(data);
  const auto x = cells_of(window, kCells);
  std::vector<torch::Tensor> parts;
  for (const auto& part : x.split(4096)) {
    parts.push_back(model.flow->log_prob(part.to(model.device()), for_each(model, context, part.size(0))));
  }
  // Relative to the largest: in units of a millionth the densities themselves are beyond single precision.
  const auto log_density = torch::cat(parts).nan_to_num(-INFINITY);
  const auto relative = (log_density - log_density.max()).exp();
  std::vector<files::Image> panels{files::heat_map(tensor_vector(relative), kCells, window)};
  if (!data.x.defined()) panels.push_back(files::heat_map(energy_or_toy(data, x), kCells, window));
  return files::side_by_side(panels);
}

files::Image picture_grid(const FlowModel& model, const FlowData& data, const torch::Tensor& context) {
  require_plane(model, context);
  torch::NoGradGuard no_grad;
  constexpr int kLines = 25, kPoints = 300;
  std::vector<std::vector<float>> curves;
  for (int i = 0; i < kLines; ++i) {
    const auto along = torch::linspace(-3, 3, kPoints), at = torch::full({kPoints}, -3.0 + 6.0 * i / (kLines - 1));
    for (const auto& z : {torch::stack({along, at}, 1), torch::stack({at, along}, 1)}) {
      curves.push_back(tensor_vector(draw_or_refuse(model, z.to(model.device()), for_each(model, context, kPoints)).x));
    }
  }
  return files::curve_picture(curves, window_of(data));
}

files::Image picture_training(const std::filesystem::path& run) {
  const auto path = run / "metrics.jsonl";
  std::ifstream in(path);
  if (!in) throw Error(Exit::no_input, path.string() + ": cannot be read; name the folder of a run");
  std::vector<files::Curve> curves{{"loss", {}}, {"validation", {}}};
  // A flow's validation, or a vocoder's.
  const auto value = [](const nlohmann::json& entry, const std::string& tag) {
    const auto found = entry.find(tag);
    return found != entry.end() || tag != "validation" ? found : entry.find("validation_nats_per_sample");
  };
  // A vocoder's loss is logged without the constant that nats have.
  const auto of_loss = stored_config(run).contains("mel") ? static_cast<float>(models::kHalfLog2Pi) : 0.0f;
  std::string line;
  while (std::getline(in, line)) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object()) continue;
    for (auto& [tag, points] : curves) {
      const auto found = value(entry, tag);
      if (found == entry.end() || !found->is_number() || !entry.value("step", nlohmann::json()).is_number()) continue;
      points.push_back(entry.at("step").get<float>());
      points.push_back(found->get<float>() + (tag == "loss" ? of_loss : 0));
    }
  }
  std::erase_if(curves, [](const auto& curve) { return curve.points.empty(); });
  if (std::ranges::none_of(curves, [](const auto& curve) { return curve.points.size() >= 4; })) {
    throw Error(Exit::bad_data, path.string() + ": has fewer than two points of a curve; train on (--resume)");
  }
  return files::line_chart(curves, {"step", "loss, " + unit_of_loss(run)});
}

void require_picture(const FlowModel& model, int64_t count, int columns) {
  const auto& shape = model.flow->shape();
  if (!shape.image()) throw Error(Exit::usage, model.name + ": is no flow of images; samples of it go to .npy");
  if (shape.channels != 1 && shape.channels != 3) {
    throw Error(Exit::usage, model.name + ": its images have " + std::to_string(shape.channels) +
                                 " channels, and pictures 1 or 3; samples of it go to .npy");
  }
  files::require_grid(count, static_cast<int>(shape.height), static_cast<int>(shape.width), columns);
}

files::Image picture_images(const FlowModel& model, const torch::Tensor& images, int columns) {
  require_picture(model, images.size(0), columns);
  const auto& shape = model.flow->shape();
  const double brightest = is_of_pixels(model.config) ? model.config.at("pixel_levels").get<double>() - 1 : 1;
  const auto bright = (images / std::max(brightest, 1.0)).contiguous();
  const auto size = [](int64_t n) { return static_cast<int>(n); };
  return files::image_grid(tensor_vector(bright), {size(shape.channels), size(shape.height), size(shape.width)},
                           columns);
}

}  // namespace melflow::engine
