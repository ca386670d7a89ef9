#include "engine/synth/dense.h"

#include <cmath>
#include <utility>

#include "audio/error.h"

namespace melflow::engine {
namespace {

/// The row at or below `column` whose number there is the largest.
size_t pivot_row(const std::vector<double>& a, size_t n, size_t column) {
  size_t best = column;
  for (size_t r = column + 1; r < n; ++r) {
    if (std::abs(a[r * n + column]) > std::abs(a[best * n + column])) best = r;
  }
  return best;
}

}  // namespace

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
  const auto n = static_cast<size_t>(matrix.size(0));
  auto a = matrix.values;
  Dense out{matrix.sizes, std::vector<double>(n * n)};
  auto& b = out.values;
  for (size_t i = 0; i < n; ++i) b[i * n + i] = 1;
  for (size_t column = 0; column < n; ++column) {
    const size_t pivot = pivot_row(a, n, column);
    if (!(std::abs(a[pivot * n + column]) > 0)) throw Error(Exit::bad_data, what + " has no inverse");
    for (size_t j = 0; j < n; ++j) {
      std::swap(a[column * n + j], a[pivot * n + j]);
      std::swap(b[column * n + j], b[pivot * n + j]);
    }
    for (size_t r = column + 1; r < n; ++r) {
      const double factor = a[r * n + column] / a[column * n + column];
      for (size_t j = column; j < n; ++j) a[r * n + j] -= factor * a[column * n + j];
      for (size_t j = 0; j < n; ++j) b[r * n + j] -= factor * b[column * n + j];
    }
  }
  for (size_t row = n; row-- > 0;) {
    for (size_t j = 0; j < n; ++j) {
      double sum = b[row * n + j];
      for (size_t c = row + 1; c < n; ++c) sum -= a[row * n + c] * b[c * n + j];
      b[row * n + j] = sum / a[row * n + row];
    }
  }
  return out;
}

std::vector<float> Parameters::floats(const std::string& name) const {
  return files::as_float32(tensors_.at(name), name);
}

Dense Parameters::at(const std::string& name) const {
  const auto values = floats(name);
  return {tensors_.at(name).shape, {values.begin(), values.end()}};
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
