#include "models/nets/row_loops.h"

#include "cpu/clones.h"
#include "cpu/fast_exp.h"

namespace melflow::models {

using cpu::clamped, cpu::fast_exp;

MELFLOW_CPU_CLONES void gate_forward(int64_t rows, int64_t channels, const float* u, int64_t half, float* tanh,
                                     float* sigmoid, float* product, int64_t row) {
  for (int64_t r = 0; r < rows; ++r, u += 2 * half, tanh += row, sigmoid += row, product += row) {
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) {
      const float ea = fast_exp(clamped(u[i], 10.0f) * -2.0f), eb = fast_exp(-clamped(u[half + i], 60.0f));
      const float t = (1.0f - ea) / (1.0f + ea), s = 1.0f / (1.0f + eb);
      tanh[i] = t;
      sigmoid[i] = s;
      product[i] = t * s;
    }
  }
}

MELFLOW_CPU_CLONES void gate_backward(int64_t rows, int64_t channels, const float* tanh, const float* sigmoid,
                                      int64_t row, const float* gradient, int64_t gradient_row, float* of_u) {
  for (int64_t r = 0; r < rows; ++r, tanh += row, sigmoid += row, gradient += gradient_row, of_u += 2 * row) {
#pragma GCC ivdep
    for (int64_t i = 0; i < channels; ++i) {
      const float t = tanh[i], s = sigmoid[i], g = gradient[i] * s;
      of_u[i] = g * (1.0f - t * t);
      of_u[row + i] = g * t * (1.0f - s);
    }
  }
}

MELFLOW_CPU_CLONES void add_sums(int64_t rows, int64_t columns, const float* a, int64_t a_row, const float* sums,
                                 int64_t sums_row, float* to, int64_t to_row) {
  for (int64_t r = 0; r < rows; ++r, a += a_row, sums += sums_row, to += to_row) {
#pragma GCC ivdep
    for (int64_t i = 0; i < columns; ++i) to[i] = a[i] + sums[i];
  }
}

MELFLOW_CPU_CLONES void add_rows(const float* a, int64_t rows, int64_t n, float* sums) {
  for (int64_t r = 0; r < rows; ++r, a += n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) sums[i] += a[i];
  }
}

}  // namespace melflow::models
