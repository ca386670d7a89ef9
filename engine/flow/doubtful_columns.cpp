#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include "engine/flow/flow_data.h"

namespace melflow::engine {
namespace {

/// Up to five columns, by their numbers in the file.
std::string named(const std::vector<int64_t>& columns, int64_t first_column) {
  constexpr size_t kShown = 5;
  std::string text = columns.size() > 1 ? "columns" : "column";
  for (size_t i = 0; i < std::min(columns.size(), kShown); ++i)
    text += (i > 0 ? ", " : " ") + std::to_string(columns[i] + first_column);
  return columns.size() > kShown ? text + " and " + std::to_string(columns.size() - kShown) + " more" : text;
}

/// Of rows [items, columns], the first of which is `first_column` of the file `name`; `constant_says`: what follows of
/// a column that is the same everywhere.
void append_doubts(std::vector<std::string>& lines, const torch::Tensor& x, const std::string& name,
                   int64_t first_column, const std::string& constant_says) {
  constexpr double kFewSteps = 1000;
  const auto low = std::get<0>(x.min(0)), high = std::get<0>(x.max(0));
  std::vector<int64_t> constant, coarse, counted;
  const auto counts = (x.slice(0, 1) - x.slice(0, 0, -1) == 1).all(0);
  for (int64_t column = 0; column < x.size(1); ++column) {
    const auto least = low[column].item<float>(), most = high[column].item<float>();
    const float size = std::max(std::abs(least), std::abs(most));
    const double step = static_cast<double>(size) - static_cast<double>(std::nextafter(size, 0.0f));
    const double spread = static_cast<double>(most) - static_cast<double>(least);
    if (counts[column].item<bool>()) counted.push_back(column);
    if (spread == 0) constant.push_back(column);
    if (spread > 0 && spread < kFewSteps * step) coarse.push_back(column);
  }
  const auto number_of_column = torch::arange(x.size(1)).to(torch::kFloat32) + (first_column - 1);
  if (x.size(1) > 1 && torch::equal(x[0], number_of_column)) {
    lines.push_back(name + ": its first row counts the columns; if it is no data, leave it out (pandas: header=False)");
  }
  if (!constant.empty()) {
    lines.push_back(name + ": the same in every row, as single precision has it: " + named(constant, first_column) +
                    "; " + constant_says);
  }
  if (!counted.empty()) {
    lines.push_back(name + ": counts the rows: " + named(counted, first_column) +
                    "; leave it out (pandas: index=False)");
  }
  if (!coarse.empty()) {
    lines.push_back(name + ": single precision tells few values apart in " + named(coarse, first_column) +
                    "; take the mean off first");
  }
}

}  // namespace

std::vector<std::string> doubtful_columns(const FlowData& data) {
  std::vector<std::string> lines;
  if (!data.x.defined() || data.own_items() < 2) return lines;
  const auto own = [&](const torch::Tensor& all) { return all.narrow(0, 0, data.own_items()); };
  if (data.context.defined()) {
    append_doubts(lines, own(data.context), data.context_name, data.context_column, "nothing depends on it");
  }
  if (data.x.dim() == 2) {
    append_doubts(lines, own(data.x), data.name, data.first_column, "the density there says nothing");
  }
  return lines;
}

}  // namespace melflow::engine
