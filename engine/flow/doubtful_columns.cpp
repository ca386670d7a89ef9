#include <algorithm>
#include <cmath>

#include <torch/torch.h>

#include "engine/flow/flow_data.h"

namespace melflow::engine {

std::vector<std::string> doubtful_columns(const FlowData& data) {
  constexpr double kFewSteps = 1000;
  if (!data.x.defined() || data.x.dim() != 2 || data.own_items() < 2) return {};
  const auto x = data.x.narrow(0, 0, data.own_items());
  const auto low = std::get<0>(x.min(0)), high = std::get<0>(x.max(0));
  std::vector<int64_t> constant, coarse, counted;
  const auto steps = x.slice(0, 1) - x.slice(0, 0, -1);
  const auto counts = (steps == 1).all(0);
  for (int64_t column = 0; column < data.x.size(1); ++column) {
    const auto least = low[column].item<float>(), most = high[column].item<float>();
    const float size = std::max(std::abs(least), std::abs(most));
    const double step = static_cast<double>(size) - static_cast<double>(std::nextafter(size, 0.0f));
    const double spread = static_cast<double>(most) - static_cast<double>(least);
    if (counts[column].item<bool>()) counted.push_back(column);
    if (spread == 0) constant.push_back(column);
    if (spread > 0 && spread < kFewSteps * step) coarse.push_back(column);
  }
  const auto named = [&](const std::vector<int64_t>& columns) {
    constexpr size_t kShown = 5;
    std::string text = columns.size() > 1 ? "columns" : "column";
    for (size_t i = 0; i < std::min(columns.size(), kShown); ++i)
      text += (i > 0 ? ", " : " ") + std::to_string(columns[i] + data.first_column);
    return columns.size() > kShown ? text + " and " + std::to_string(columns.size() - kShown) + " more" : text;
  };
  std::vector<std::string> lines;
  const auto number_of_column = torch::arange(data.x.size(1)).to(torch::kFloat32) + (data.first_column - 1);
  if (data.x.size(1) > 1 && torch::equal(data.x[0], number_of_column)) {
    lines.push_back(data.name +
                    ": its first row counts the columns; if it is no data, leave it out (pandas: header=False)");
  }
  if (!constant.empty()) {
    lines.push_back(data.name + ": the same in every row, as single precision has it: " + named(constant) +
                    "; the density there says nothing");
  }
  if (!counted.empty()) {
    lines.push_back(data.name + ": counts the rows: " + named(counted) + "; leave it out (pandas: index=False)");
  }
  if (!coarse.empty()) {
    lines.push_back(data.name + ": single precision tells few values apart in " + named(coarse) +
                    "; take the mean off first");
  }
  return lines;
}

}  // namespace melflow::engine
