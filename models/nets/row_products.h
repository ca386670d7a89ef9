#pragma once

#include <cstdint>
#include <memory>

namespace melflow::models {

// Matrix products for training on a CPU in float32, each on one thread: callers share out rows or columns. Rows lie
// `…_row` numbers apart. An element is summed up in an order of its own, wherever the shares begin: the bits do not
// depend on the number of threads.

/// A matrix [k, n] in the order in which add_product reads it: panels of columns, zeros beyond the last.
class Panels {
 public:
  /// Its entry (k, n) is values[k·k_apart + n·n_apart].
  Panels(const float* values, int64_t k, int64_t n, int64_t k_apart, int64_t n_apart);
  int64_t k() const { return k_; }
  int64_t n() const { return n_; }
  const float* panel(int64_t first_column) const { return values_.get() + first_column * k_; }

 private:
  int64_t k_, n_;
  std::unique_ptr<float[]> values_;
};

/// c [rows, n] += a [rows, k] · b.
void add_product(const float* a, int64_t a_row, int64_t rows, const Panels& b, float* c, int64_t c_row);

/// Columns that are added up together: what shares of add_transposed_product's had best be multiples of.
int64_t panel_columns();

/// c [m, n] += aᵀ·b of a [rows, m] and b [rows, n].
void add_transposed_product(const float* a, int64_t a_row, int64_t m, const float* b, int64_t b_row, int64_t n,
                            int64_t rows, float* c, int64_t c_row);

/// sums [n] += Σ rows of a [rows, n].
void add_rows(const float* a, int64_t rows, int64_t n, float* sums);

}  // namespace melflow::models
