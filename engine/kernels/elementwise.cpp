#include "engine/kernels/elementwise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/clones.h"
#include "cpu/fast_exp.h"

namespace melflow::engine {
namespace {

constexpr float kMostExponent = 87;  // of fast_exp
constexpr size_t kLanes = 16;        // of sums and maxima side by side

/// cos(x) and sin(x) by Cephes' polynomials, after a quarter turn has been taken away as often as it goes into x; no
/// branch, so that loops over it are vectorised.
struct Turn {
  float cos, sin;
};
[[gnu::always_inline]] inline Turn turn(float x) {
  constexpr float kRound = 12582912.0f;  // as in fast_exp
  const float shifted = x * 0.636619772367581343f + kRound, n = shifted - kRound;
  const auto quarters = std::bit_cast<uint32_t>(shifted);
  const float r = ((x - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.54978995489188216e-8f, rr = r * r;
  const float s = ((-1.9515295891e-4f * rr + 8.3321608736e-3f) * rr - 1.6666654611e-1f) * rr * r + r;
  const float c =
      ((2.443315711809948e-5f * rr - 1.388731625493765e-3f) * rr + 4.166664568298827e-2f) * rr * rr - 0.5f * rr + 1.0f;
  const bool odd = (quarters & 1) != 0;
  const auto negated = [](float value, uint32_t when) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ ((when & 2) << 30));
  };
  return {negated(odd ? s : c, quarters + 1), negated(odd ? c : s, quarters)};
}

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
void exponentials(float most, float* x, size_t count) {
  for (size_t i = 0; i < count; ++i) x[i] = cpu::fast_exp(cpu::clamped(x[i] - most, kMostExponent));
}

MELFLOW_CPU_CLONES
void bounded_exponentials(float limit, float* x, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const float tanh = 2 * sigmoid(2 * x[i] / limit) - 1;
    x[i] = cpu::fast_exp(limit * tanh);
  }
}

MELFLOW_CPU_CLONES
void falling_exponentials(const float* __restrict re, const float* __restrict im, float scale,
                          std::complex<float>* __restrict out, size_t count) {
  auto* part = reinterpret_cast<float*>(out);
  for (size_t k = 0; k < count; ++k) {
    const float size = scale * cpu::fast_exp(-cpu::clamped(re[k], kMostExponent));
    const auto [cos, sin] = turn(im[k]);
    part[2 * k] = size * cos;
    part[2 * k + 1] = -size * sin;
  }
}

MELFLOW_CPU_CLONES
void squares(const std::complex<float>* __restrict z, float* __restrict out, size_t count) {
  const auto* part = reinterpret_cast<const float*>(z);
  for (size_t k = 0; k < count; ++k) out[k] = part[2 * k] * part[2 * k] + part[2 * k + 1] * part[2 * k + 1];
}

MELFLOW_CPU_CLONES
float energy(const std::complex<float>* z, size_t count) {
  const auto* part = reinterpret_cast<const float*>(z);
  float sums[kLanes] = {};
  size_t k = 0;
  for (; k + kLanes <= 2 * count; k += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) sums[i] += part[k + i] * part[k + i];
  }
  for (; k < 2 * count; ++k) sums[0] += part[k] * part[k];
  float sum = 0;
  for (const float s : sums) sum += s;
  return sum;
}

MELFLOW_CPU_CLONES
float largest_square_over(const float* __restrict unit, const std::complex<float>* __restrict z, size_t count) {
  float most[kLanes] = {};
  const auto* part = reinterpret_cast<const float*>(z);
  const auto see = [&](size_t k, float& lane) {
    const float square = (part[2 * k] * part[2 * k] + part[2 * k + 1] * part[2 * k + 1]) / unit[k];
    lane = lane > square ? lane : square;
  };
  size_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) see(k + i, most[i]);
  }
  for (; k < count; ++k) see(k, most[0]);
  return *std::max_element(most, most + kLanes);
}

MELFLOW_CPU_CLONES
void silu(float* x, size_t count) {
  for (size_t i = 0; i < count; ++i) x[i] *= sigmoid(x[i]);
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
