#include "models/nets/wavenet_gate.h"

#include "cpu/clones.h"
#include "cpu/fast_exp.h"

namespace melflow::models {

using cpu::clamped, cpu::fast_exp;

MELFLOW_CPU_CLONES void gate_forward(int64_t rows, int64_t n, const float* u, float* tanh, float* sigmoid,
                                     float* product) {
  for (int64_t r = 0; r < rows; ++r, u += 2 * n, tanh += n, sigmoid += n, product += n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const float ea = fast_exp(clamped(u[i], 10.0f) * -2.0f), eb = fast_exp(-clamped(u[n + i], 60.0f));
      const float t = (1.0f - ea) / (1.0f + ea), s = 1.0f / (1.0f + eb);
      tanh[i] = t;
      sigmoid[i] = s;
      product[i] = t * s;
    }
  }
}

MELFLOW_CPU_CLONES void gate_backward(int64_t rows, int64_t n, const float* tanh, const float* sigmoid,
                                      const float* gradient, float* of_u) {
  for (int64_t r = 0; r < rows; ++r, tanh += n, sigmoid += n, gradient += n, of_u += 2 * n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const float t = tanh[i], s = sigmoid[i], g = gradient[i] * s;
      of_u[i] = g * (1.0f - t * t);
      of_u[n + i] = g * t * (1.0f - s);
    }
  }
}

}  // namespace melflow::models
