#include "engine/gpu/small_matrix.h"

#include <algorithm>
#include <cmath>

#include "audio/error.h"

namespace melflow::gpu {

std::vector<double> inverted(const std::vector<float>& matrix, int n) {
  std::vector<double> a(matrix.begin(), matrix.end()), out(matrix.size());
  const auto at = [n](std::vector<double>& m, int row, int column) -> double& {
    return m[static_cast<size_t>(row * n + column)];
  };
  for (int i = 0; i < n; ++i) at(out, i, i) = 1;
  for (int column = 0; column < n; ++column) {
    int pivot = column;
    for (int row = column; row < n; ++row) {
      if (std::abs(at(a, row, column)) > std::abs(at(a, pivot, column))) pivot = row;
    }
    const double scale = at(a, pivot, column);
    if (scale == 0 || !std::isfinite(scale)) throw Error(Exit::bad_data, "a 1x1 convolution has no inverse");
    for (int k = 0; k < n; ++k) {
      std::swap(at(a, pivot, k), at(a, column, k));
      std::swap(at(out, pivot, k), at(out, column, k));
      at(a, column, k) /= scale;
      at(out, column, k) /= scale;
    }
    for (int row = 0; row < n; ++row) {
      const double factor = at(a, row, column);
      if (row == column || factor == 0) continue;
      for (int k = 0; k < n; ++k) {
        at(a, row, k) -= factor * at(a, column, k);
        at(out, row, k) -= factor * at(out, column, k);
      }
    }
  }
  return out;
}

}  // namespace melflow::gpu
