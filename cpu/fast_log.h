// ln x for kernels; as fast_exp.h, in an unnamed namespace and without a call.
#pragma once

#include <cstdint>

namespace melflow::cpu {
namespace {

/// ln x of a normal positive x, to 2 units in the last place: x = 2ⁿ·m, m within √½ and √2, a polynomial in m - 1
/// (Cephes' logf). No branch, so that loops over it are vectorised. Of what is not positive,
/// infinite or no number: some number within ±90.
[[gnu::always_inline]] inline float fast_log(float x) {
  constexpr int32_t kRootHalf = 0x3f3504f3;
  const int32_t above = __builtin_bit_cast(int32_t, x) - kRootHalf;
  const auto n = static_cast<float>(above >> 23);
  const float f = __builtin_bit_cast(float, (above & 0x7fffff) + kRootHalf) - 1.0f, square = f * f;
  float p = f * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  return n * 0.693359375f + (f + ((f * square) * p - 0.5f * square + n * -2.12194440e-4f));
}

}  // namespace
}  // namespace melflow::cpu
