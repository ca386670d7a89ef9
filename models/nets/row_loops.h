#pragma once

#include <cstdint>

namespace melflow::models {

// What a WaveNet's layer does beside its products, each in one pass over memory; float32, on one thread of a CPU.

// The gate, of `channels` of a row's `row` channels, to whose first the pointers point.

/// u [rows, 2·half], of which tanh has the first and the sigmoid the last `half`, channels ≤ half of them → tanh and
/// sigmoid [rows, …], and their product. |error| below 2e-7.
void gate_forward(int64_t rows, int64_t channels, const float* u, int64_t half, float* tanh, float* sigmoid,
                  float* product, int64_t row);

/// From the product's gradient [rows, …], its rows `gradient_row` apart, that of u [rows, 2·row], its halves' channels.
void gate_backward(int64_t rows, int64_t channels, const float* tanh, const float* sigmoid, int64_t row,
                   const float* gradient, int64_t gradient_row, float* of_u);

/// to = a + sums for `columns` of each row; rows lie a_row, sums_row and to_row apart. a may be `to`.
void add_sums(int64_t rows, int64_t columns, const float* a, int64_t a_row, const float* sums, int64_t sums_row,
              float* to, int64_t to_row);

/// sums [n] += Σ rows of a [rows, n].
void add_rows(const float* a, int64_t rows, int64_t n, float* sums);

}  // namespace melflow::models
