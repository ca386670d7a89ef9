#include "engine/synth/dense.h"

#include <cmath>

#include "engine/small_matrix.h"

namespace melflow::engine {
Dense Dense::rows(int64_t first, int64_t n) const {
  Dense out{sizes, {}};
  out.sizes[0] = n;
  const auto row = static_cast<ptrdiff_t>(count() / sizes[0]);
  out.values.assign(values.begin() + first * row, values.begin() + (first + n) * row);
  return out;
}

Dense product(const Dense& a, const Dense& b) {
  const auto m = static_cast<size_t>(a.size(0)), k = static_cast<size_t>(a.size(1)), n = static_cast<size_t>(b.size(1));
  Dense out{{a.size(0), b.size(1)}, std::vector<double>(m * n)};
  for (size_t i = 0; i < m; ++i) {
    for (size_t l = 0; l < k; ++l) {
      for (size_t j = 0; j < n; ++j) out.values[i * n + j] += a.values[i * k + l] * b.values[l * n + j];
    }
  }
  return out;
}

Dense sum(Dense a, const Dense& b) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
  return a;
}

Dense inverse(const Dense& matrix, const std::string& what) {
  return {matrix.sizes, inverted(matrix.values, static_cast<size_t>(matrix.size(0)), what)};
}

std::vector<float> Parameters::floats(const std::string& name) const {
  const auto& tensor = tensors_.at(name);
  auto values = files::as_float32(tensor, name);
  files::let_go(tensor.bytes);  // packed weights take its place
  return values;
}

Dense Parameters::at(const std::string& name) const {
  const auto values = floats(name);
  return {tensors_.at(name).shape, {values.begin(), values.end()}};
}

Dense Parameters::folded(const std::string& name) const {
  return tensors_.contains(name + "_v") ? normed(name.substr(0, name.rfind(".weight"))) : at(name);
}

Dense Parameters::normed(const std::string& name) const {
  auto v = at(name + ".weight_v");
  const auto g = at(name + ".weight_g");
  const auto row = static_cast<size_t>(v.count() / v.size(0));
  for (size_t o = 0; o < g.values.size(); ++o) {
    double sum = 0;
    for (size_t i = 0; i < row; ++i) sum += v.values[o * row + i] * v.values[o * row + i];
    const double factor = g.values[o] / std::sqrt(sum);
    for (size_t i = 0; i < row; ++i) v.values[o * row + i] *= factor;
  }
  return v;
}

}  // namespace melflow::engine
