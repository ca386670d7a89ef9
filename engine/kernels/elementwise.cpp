#include "engine/kernels/elementwise.h"

#include <cmath>

#include "cpu/clones.h"
#include "cpu/fast_exp.h"

namespace melflow::engine {
namespace {

[[gnu::always_inline]] inline float sigmoid(float x) { return 1.0f / (1.0f + cpu::fast_exp(-cpu::clamped(x, 80.0f))); }

}  // namespace

MELFLOW_CPU_CLONES
void saturate(const float* x, float unit, float limit, float scale, float* out, size_t count) {
#pragma GCC ivdep
  for (size_t i = 0; i < count; ++i) {
    const float y = x[i] / unit, r = y / limit;
    out[i] = scale * (y / std::sqrt(1.0f + r * r));
  }
}

MELFLOW_CPU_CLONES
void modulate(const float* __restrict film, float* __restrict h, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const float v = h[i] * (1 + film[i]) + film[count + i];
    h[i] = v * sigmoid(v);
  }
}

MELFLOW_CPU_CLONES
void add_gated(const float* __restrict gates, float* __restrict h, size_t count) {
  for (size_t i = 0; i < count; ++i) h[i] += gates[i] * sigmoid(gates[count + i]);
}

}  // namespace melflow::engine
