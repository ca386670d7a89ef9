#include "models/nets/vector_math.h"

#include <cmath>

#include "cpu/clones.h"
#include "cpu/fast_exp.h"

namespace melflow::models {
namespace {

/// exp of any number, still without a branch or a call.
[[gnu::always_inline]] inline float exp_of(float x) {
  constexpr float kLow = -87.0f, kHigh = 88.0f;
  const float inside = x > kHigh ? kHigh : x < kLow ? kLow : x;
  return x < kLow ? 0.0f : cpu::fast_exp(inside);
}

}  // namespace

MELFLOW_CPU_CLONES void exp_array(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_of(x[i]);
}

MELFLOW_CPU_CLONES void bounded_array(const float* x, float* y, double limit, int64_t n) {
  const auto height = static_cast<float>(limit), twice = 2 / height;
  for (int64_t i = 0; i < n; ++i) y[i] = height - 2 * height / (exp_of(x[i] * twice) + 1);
}

void exp_array(const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::exp(x[i]);
}

void bounded_array(const double* x, double* y, double limit, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = limit * std::tanh(x[i] / limit);
}

}  // namespace melflow::models
