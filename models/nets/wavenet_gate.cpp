#include "models/nets/wavenet_gate.h"

#include <bit>
#include <cstdint>

#include "models/nets/best_target.h"

namespace melflow::models {
namespace {

/// eˣ for |x| ≤ 87: x = n·ln 2 + r, a polynomial in r (Cephes' expf), 2ⁿ by its bits. No branch, so that loops over it
/// are vectorised.
[[gnu::always_inline]] inline float fast_exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5·2²³: adding and taking it away rounds to whole numbers
  const float shifted = x * 1.44269504088896341f + kRound, n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  return p * std::bit_cast<float>((std::bit_cast<int32_t>(shifted) << 23) + (127 << 23));
}

/// Written so that a NaN compares false and stays.
[[gnu::always_inline]] inline float clamped(float x, float limit) {
  x = x > limit ? limit : x;
  return x < -limit ? -limit : x;
}

}  // namespace

MELFLOW_BEST_TARGET void gate_forward(int64_t rows, int64_t n, const float* u, float* tanh, float* sigmoid,
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

MELFLOW_BEST_TARGET void gate_backward(int64_t rows, int64_t n, const float* tanh, const float* sigmoid,
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
