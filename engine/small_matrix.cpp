#include "engine/small_matrix.h"

#include <cmath>
#include <utility>

#include "base/error.h"

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

std::vector<double> inverted(std::vector<double> a, size_t n, const std::string& what) {
  std::vector<double> b(n * n);
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
  return b;
}

}  // namespace melflow::engine
