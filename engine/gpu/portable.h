#pragma once

#include <cmath>
#include <cstdint>

// The kernels are one source for nvcc and for the host's compiler, which runs them under tests/gpu/emulated_block.h.
#ifdef __CUDACC__
#define MELFLOW_DEVICE __device__ __forceinline__
#define MELFLOW_UNROLL _Pragma("unroll")
#else
#define MELFLOW_DEVICE inline
#define MELFLOW_UNROLL
#endif

namespace melflow::gpu {

/// bfloat16: the upper half of a binary32.
struct Bf16 {
  uint16_t bits;
};

// What one access moves; aligned, so that it is one.
struct alignas(8) Float2 {
  float v[2];
};
struct alignas(16) Float4 {
  float v[4];
};
struct alignas(16) Word4 {
  uint32_t v[4];  ///< or eight Bf16
};
struct alignas(16) Int4 {
  int32_t v[4];
};

#ifdef __CUDACC__
MELFLOW_DEVICE uint32_t bits_of(float x) { return __float_as_uint(x); }
MELFLOW_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }
MELFLOW_DEVICE float fast_exp(float x) { return __expf(x); }
MELFLOW_DEVICE float fast_quotient(float x, float y) { return __fdividef(x, y); }
MELFLOW_DEVICE float larger(float x, float y) {
  float out;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(x), "f"(y));
  return out;
}
MELFLOW_DEVICE float smaller(float x, float y) {
  float out;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(out) : "f"(x), "f"(y));
  return out;
}
/// Two numbers, rounded to the nearest bfloat16 (even at ties), the first in the lower half.
MELFLOW_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
#else
inline uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
inline float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }
inline float fast_exp(float x) { return std::exp(x); }
inline float fast_quotient(float x, float y) { return x / y; }
inline float larger(float x, float y) { return x < y ? y : x; }
inline float smaller(float x, float y) { return y < x ? y : x; }
inline uint16_t rounded_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline uint32_t pack_bf16(float low, float high) {
  return rounded_bf16(low) | static_cast<uint32_t>(rounded_bf16(high)) << 16;
}
#endif

MELFLOW_DEVICE float low_bf16(uint32_t pair) { return float_of(pair << 16); }
MELFLOW_DEVICE float high_bf16(uint32_t pair) { return float_of(pair & 0xffff0000u); }

/// tanh(a)·sigmoid(b) with one division: (1 - e⁻²ᵃ) / ((1 + e⁻²ᵃ)(1 + e⁻ᵇ)). Beyond the limits both are at their ends
/// in float32, and nothing overflows. A NaN stays one (larger() and smaller() keep it, fmaxf() does not): who speaks
/// refuses it.
MELFLOW_DEVICE float gated(float a, float b) {
  const float u = fast_exp(-2.0f * smaller(larger(a, -9.0f), 9.0f)), v = fast_exp(-larger(b, -60.0f));
  return fast_quotient(1.0f - u, (1.0f + u) * (1.0f + v));
}

}  // namespace melflow::gpu
