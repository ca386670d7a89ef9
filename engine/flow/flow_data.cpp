#include "engine/flow/flow_data.h"

#include <algorithm>
#include <filesystem>

#include <torch/torch.h>

#include "base/error.h"
#include "base/nearest.h"
#include "engine/files/csv.h"
#include "engine/files/file_kind.h"
#include "engine/files/idx.h"
#include "engine/files/inflate.h"
#include "engine/files/mapped_file.h"
#include "engine/files/npy.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

constexpr int64_t kMostClasses = 1000, kLargestSide = 1 << 16;

/// The format is told by the first bytes, whatever the name says.
files::NpyArray parse_array(std::span<const std::byte> bytes, const std::string& name) {
  const auto kind = files::kind_of(bytes);
  if (kind == files::FileKind::npy) return files::parse_npy(bytes, name);
  if (kind == files::FileKind::zip) {
    throw Error(Exit::bad_data, name + ": is a zip archive (.npz, .xlsx, …); save the one array as .npy or .csv");
  }
  if (files::is_idx(bytes)) return files::parse_idx(bytes, name);
  return files::parse_csv({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
}

files::NpyArray read_array(const std::string& path) {
  const files::MappedFile file(path);
  if (files::kind_of(file.bytes()) != files::FileKind::gzip) return parse_array(file.bytes(), path);
  // Data are noise to some part: what becomes far larger is a bomb.
  constexpr size_t kMost = size_t{2} << 30, kLittle = size_t{64} << 20, kGrowth = 64;
  const auto unpacked = files::gunzip(file.bytes(), path, std::min(kMost, kLittle + kGrowth * file.bytes().size()));
  return parse_array(unpacked, path);
}

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": " + what);
}

torch::Tensor as_labels(const torch::Tensor& values, int64_t items, const std::string& name) {
  if (values.numel() != items) {
    refuse(name, std::to_string(values.numel()) + " labels for " + std::to_string(items) + " items");
  }
  const bool whole = (values == values.floor()).all().item<bool>() && values.min().item<float>() >= 0 &&
                     values.max().item<float>() < kMostClasses;
  if (!whole) refuse(name, "labels must be whole numbers from 0 to " + std::to_string(kMostClasses - 1));
  return values.flatten().to(torch::kInt64);
}

/// [items, …] as rows or as images, by its dimensions and what the options say.
torch::Tensor as_items(const torch::Tensor& x, const FlowDataOptions& o) {
  if (o.height > 0 && x.dim() > 2 && (x.size(-2) != o.height || x.size(-1) != o.width)) {
    refuse(o.path, "holds images of " + std::to_string(x.size(-2)) + " x " + std::to_string(x.size(-1)) + ", not of " +
                       std::to_string(o.height) + " x " + std::to_string(o.width));
  }
  if (x.dim() == 2 && o.height > 0) {
    const auto size = std::max<int64_t>(1, o.height * o.width);
    if (x.size(1) % size != 0) {
      refuse(o.path, std::to_string(x.size(1)) + " columns are no images of " + std::to_string(o.height) + " x " +
                         std::to_string(o.width));
    }
    return x.view({x.size(0), x.size(1) / size, o.height, o.width});
  }
  if (x.dim() == 1 && o.height > 0) refuse(o.path, "holds a row of numbers, and no images");
  if (x.dim() == 1) return x.unsqueeze(1);
  if (x.dim() == 3) return x.unsqueeze(1);
  if (x.dim() != 2 && x.dim() != 4) {
    refuse(o.path, "wants [items, columns], [items, height, width] or [items, channels, height, width]");
  }
  if (x.dim() == 4 && x.size(3) <= 4 && x.size(1) > 4 && x.size(2) > 4) {
    refuse(o.path, "has its channels last; save it as [items, channels, height, width]: numpy.moveaxis(x, -1, 1)");
  }
  return x;
}

/// The file's numbers are in single precision by now: what a float64 holds beyond that has become infinite.
void require_finite(const torch::Tensor& x, const std::string& name) {
  const auto wrong = x.isfinite().logical_not().flatten();
  if (!wrong.any().item<bool>()) return;
  const auto at = wrong.nonzero()[0].item<int64_t>(), items = x.size(0);
  const auto columns = x.numel() / items;
  const bool nan = x.flatten()[at].isnan().item<bool>();
  refuse(name, "row " + std::to_string(at / columns + 1) + ", column " + std::to_string(at % columns + 1) + " holds " +
                   (nan ? "NaN; leave such rows out" : "infinity, or a number beyond single precision; scale it"));
}

[[noreturn]] void refuse_name(const std::string& path) {
  std::vector<std::string> names;
  for (const auto& toy : toys()) names.push_back(toy.name);
  for (const auto& energy : energies()) names.push_back(energy.name);
  throw Error(Exit::no_input, path + ": no such file, and no named distribution" + suggestion(path, names));
}

/// Takes the first columns off x, to be what its rows depend on.
void split_context(FlowData& data, torch::Tensor& x, int64_t columns) {
  if (x.dim() != 2 || x.size(1) <= columns) {
    refuse(data.name, "has no " + std::to_string(columns) + " columns to spare for a context (--context-columns)");
  }
  data.context = x.narrow(1, 0, columns).contiguous();
  data.context_name = data.name;
  data.context_column = data.first_column;
  data.first_column += columns;
  x = x.narrow(1, columns, x.size(1) - columns).contiguous();
}

/// Items of a file that exists.
FlowData load_file(const FlowDataOptions& o) {
  FlowData data{.name = o.path};
  const auto array = read_array(o.path);
  auto x = vector_tensor(array.values).view(array.shape);
  if (x.numel() == 0) refuse(o.path, "holds nothing");
  if (x.dim() == 0) refuse(o.path, "holds one number and no axis; a table has rows");
  require_finite(x, o.path);
  if (!o.label_column.empty()) {
    const bool last = o.label_column == "last";
    if (!last && o.label_column != "first") {
      throw Error(Exit::config, "data.label_column is '" + o.label_column + "'; it must be 'first' or 'last'");
    }
    if (x.dim() != 2 || x.size(1) < 2) refuse(o.path, "has no column to spare for labels");
    data.labels = as_labels(x.select(1, last ? -1 : 0), x.size(0), o.path);
    data.first_column = last ? 1 : 2;
    data.labels_name = o.path;
    x = x.narrow(1, last ? 0 : 1, x.size(1) - 1).contiguous();
  }
  if (o.context_columns > 0) split_context(data, x, o.context_columns);
  data.x = as_items(x, o);
  if (!o.context.empty()) {
    data.context = read_context(o.context);
    data.context_name = o.context;
    if (data.context.size(0) != data.x.size(0)) {
      refuse(o.context, std::to_string(data.context.size(0)) + " rows of context for " +
                            std::to_string(data.x.size(0)) + " items");
    }
  }
  if (!o.labels.empty()) {
    const auto labels = read_array(o.labels);
    data.labels = as_labels(vector_tensor(labels.values), data.x.size(0), o.labels);
    data.labels_name = o.labels;
  }
  return data;
}

/// Puts what is in the file for validation behind the other items.
void append_validation(FlowData& data, FlowDataOptions o) {
  o.path = o.validation;
  std::error_code error;
  if (!std::filesystem::exists(o.path, error)) throw Error(Exit::no_input, o.path + ": no such file; check the path");
  const auto more = load_file(o);
  if (more.x.sizes().slice(1) != data.x.sizes().slice(1)) {
    refuse(o.path, "its items are of another size than those of " + data.name);
  }
  if (data.labels.defined()) require_classes(more.labels, data.classes(), o.path);
  data.validation_items = more.x.size(0);
  data.validation_name = o.path;
  data.x = torch::cat({data.x, more.x});
  if (data.labels.defined()) data.labels = torch::cat({data.labels, more.labels});
  if (data.context.defined()) data.context = torch::cat({data.context, more.context});
}

}  // namespace

models::FlowShape FlowData::shape() const {
  if (!x.defined()) return {.channels = 2};
  if (x.dim() == 2) return {.channels = x.size(1)};
  return {.channels = x.size(1), .height = x.size(2), .width = x.size(3)};
}

int64_t FlowData::classes() const { return labels.defined() ? labels.max().item<int64_t>() + 1 : 0; }

torch::Tensor read_context(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(Exit::no_input, path + ": no such file; check the path");
  const auto array = read_array(path);
  auto rows = vector_tensor(array.values).view(array.shape);
  if (rows.numel() == 0) refuse(path, "holds nothing");
  if (rows.dim() == 1) rows = rows.unsqueeze(1);
  if (rows.dim() != 2) refuse(path, "a context is a table: [items, numbers]");
  require_finite(rows, path);
  return rows;
}

namespace {

/// Options that contradict each other, whatever the files hold.
void require_consistent(const FlowDataOptions& o) {
  if ((o.height > 0) != (o.width > 0)) {
    throw Error(Exit::config, "data.height and data.width: images have both; give the other one too");
  }
  if (std::max(o.height, o.width) > kLargestSide) {
    throw Error(Exit::config, "data.height and data.width: no image is larger than " + std::to_string(kLargestSide));
  }
  if (!o.labels.empty() && !o.validation.empty()) {
    throw Error(Exit::config,
                "--validation (data.validation): --labels names those of the other items alone; give labels "
                "as a column, --label-column");
  }
  if (!o.labels.empty() && !o.label_column.empty()) {
    throw Error(Exit::usage, "--labels and --label-column: both name the labels; give one of them");
  }
  if (!o.context.empty() && o.context_columns > 0) {
    throw Error(Exit::usage, "--context and --context-columns: both name the context; give one of them");
  }
  if (!o.context.empty() && !o.validation.empty()) {
    throw Error(Exit::config,
                "--validation (data.validation): --context names that of the other items alone; give it as columns, "
                "--context-columns");
  }
}

}  // namespace

FlowData load_flow_data(const FlowDataOptions& o) {
  require_consistent(o);
  FlowData data{.name = o.path};
  data.toy = find_toy(o.path);
  data.energy = find_energy(o.path);
  if (data.toy != nullptr || data.energy != nullptr) {
    if (o.height > 0)
      throw Error(Exit::usage, o.path + ": a named distribution has no images, but rows of two numbers");
    if (!o.labels.empty() || !o.label_column.empty())
      throw Error(Exit::usage, o.path + ": a named distribution has no labels; leave them out");
    if (!o.context.empty() || o.context_columns > 0)
      throw Error(Exit::usage, o.path + ": a named distribution has no context; leave it out");
    if (!o.validation.empty())
      throw Error(Exit::usage, o.path + ": a named distribution is validated by itself; leave --validation out");
    return data;
  }
  std::error_code error;
  if (!std::filesystem::exists(o.path, error)) refuse_name(o.path);
  data = load_file(o);
  if (!o.validation.empty()) append_validation(data, o);
  return data;
}

FlowBatch take(const FlowData& data, const torch::Tensor& indices) {
  const auto some = [&](const torch::Tensor& all) { return all.defined() ? all.index_select(0, indices) : all; };
  return {some(data.x), some(data.labels), some(data.context)};
}

FlowBatch draw(const FlowData& data, int64_t count, uint64_t seed) {
  auto random = generator(seed);
  return {data.toy->sample(count, random), {}};
}

void require_classes(const torch::Tensor& labels, int64_t classes, const std::string& name) {
  if (const auto largest = labels.max().item<int64_t>(); largest >= classes) {
    refuse(name, "label " + std::to_string(largest) + " is none of the flow's " + std::to_string(classes) + " classes");
  }
}

torch::Tensor one_hot(const torch::Tensor& labels, int64_t classes, const std::string& name) {
  require_classes(labels, classes, name);
  return torch::one_hot(labels, classes).to(torch::kFloat32);
}

void require_pixels(const torch::Tensor& pixels, int64_t levels, const std::string& name) {
  const bool fits = (pixels == pixels.floor()).all().item<bool>() && pixels.min().item<float>() >= 0 &&
                    pixels.max().item<float>() < static_cast<float>(levels);
  if (!fits) {
    refuse(name, "pixels must be whole numbers from 0 to " + std::to_string(levels - 1) +
                     "; another range: --set model.pixel_levels=N; fractions: times 255, and rounded");
  }
}

torch::Tensor dequantise(const torch::Tensor& pixels, int64_t levels, uint64_t seed, const std::string& name) {
  require_pixels(pixels, levels, name);
  auto random = generator(seed);
  return pixels + torch::rand(pixels.sizes(), random, torch::TensorOptions());
}

}  // namespace melflow::engine
