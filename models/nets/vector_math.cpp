#include "models/nets/vector_math.h"

#include <bit>
#include <cmath>

#include "models/nets/best_target.h"

namespace melflow::models {
namespace {

/// exp without a branch or a call, so that loops over it become vector instructions: x = n ln 2 + r, |r| ≤ ln 2 / 2,
/// 2ⁿ by its exponent's bits, exp r by its series to r⁶ (the next term is below 1.2·10⁻⁷ of the sum).
[[gnu::always_inline]] inline float exp_of(float x) {
  constexpr float kLow = -87.0f, kHigh = 88.0f, kRound = 12582912.0f;  // 1.5·2²³: adding it rounds to whole numbers
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float inside = x > kHigh ? kHigh : x < kLow ? kLow : x;
  const float rounded = inside * kLog2E + kRound, n = rounded - kRound;
  const float r = (inside - n * kLn2High) - n * kLn2Low;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const auto bits = (std::bit_cast<uint32_t>(rounded) << 23) + (127u << 23);
  return x < kLow ? 0.0f : p * std::bit_cast<float>(bits);
}

}  // namespace

MELFLOW_BEST_TARGET void exp_array(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = exp_of(x[i]);
}

MELFLOW_BEST_TARGET void bounded_array(const float* x, float* y, double limit, int64_t n) {
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
