#include "engine/kernels/fixed_point.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/clones.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace melflow::engine {
namespace {

/// 2^-22 of the power of two that the largest magnitude reaches; at least 2^-122, so that its inverse is finite.
MELFLOW_CPU_CLONES
float step_of(const float* x, size_t n) {
  int32_t largest = 0;  // of the bits: those of magnitudes are in their order, what is not finite behind
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  constexpr int kNotFinite = 255, kLeast = 27;
  const int exponent = largest >> 23;
  if (exponent == kNotFinite) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>((std::max(exponent, kLeast) - 22) << 23);
}

MELFLOW_CPU_CLONES
void split(const float* __restrict x, size_t n, float steps, uint8_t* __restrict low, uint8_t* __restrict middle,
           uint8_t* __restrict high) {
  constexpr float kMost = 0x1p23f - 1;  // what rounds to 2^23 itself would be none of 24 bits
  for (size_t i = 0; i < n; ++i) {
    const auto whole = static_cast<int32_t>(std::min(std::nearbyint(x[i] * steps), kMost)) + (1 << 23);
    low[i] = static_cast<uint8_t>(whole);
    middle[i] = static_cast<uint8_t>(whole >> 8);
    high[i] = static_cast<uint8_t>(whole >> 16);
  }
}

}  // namespace

void to_fixed_point(std::span<const float> x, FixedPoint& out) {
  out.step = step_of(x.data(), x.size());
  const int end = FixedPoint::kFour * FixedPoint::fours_of(static_cast<int>(x.size()));
  for (auto& bytes : out.bytes) std::fill(bytes + x.size(), bytes + end, uint8_t{0});
  if (std::isnan(out.step)) return;
  split(x.data(), x.size(), 1 / out.step, out.bytes[0], out.bytes[1], out.bytes[2]);
}

#if defined(__x86_64__)

#define MELFLOW_VNNI __attribute__((target("arch=x86-64-v4,avx512vnni")))

namespace {

// As GCC's own vectors: of __m512i GCC 12 keeps copies in memory.
typedef int32_t Integers __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));

MELFLOW_VNNI inline Integers add_products(Integers sum, __m512i unsigned_bytes, __m512i weights) {
  return __builtin_bit_cast(Integers, _mm512_dpbusd_epi32(__builtin_bit_cast(__m512i, sum), unsigned_bytes, weights));
}

MELFLOW_VNNI inline __m512i four_of(const uint8_t* bytes, int four) {
  int32_t out;
  __builtin_memcpy(&out, bytes + FixedPoint::kFour * four, sizeof out);
  return _mm512_set1_epi32(out);
}

MELFLOW_VNNI inline Floats floats(Integers sums) { return __builtin_convertvector(sums, Floats); }

}  // namespace

MELFLOW_VNNI void multiply_fixed_point(const int8_t* weights, const int32_t* of_ones, const FixedPoint& x, int fours,
                                       float* sums) {
  constexpr int kLanes = 16, kVectors = FixedPoint::kOutputs / kLanes;
  Integers low[kVectors] = {}, middle[kVectors] = {}, high[kVectors] = {};
  for (int four = 0; four < fours; ++four) {
    const __m512i x0 = four_of(x.bytes[0], four), x1 = four_of(x.bytes[1], four), x2 = four_of(x.bytes[2], four);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v, weights += kLanes * FixedPoint::kFour) {
      __m512i w = _mm512_loadu_si512(weights);
      asm("" : "+v"(w));  // in a register: GCC would read it from memory three times
      low[v] = add_products(low[v], x0, w);
      middle[v] = add_products(middle[v], x1, w);
      high[v] = add_products(high[v], x2, w);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    Integers ones;
    Floats sum;
    __builtin_memcpy(&ones, of_ones + v * kLanes, sizeof ones);
    __builtin_memcpy(&sum, sums + v * kLanes, sizeof sum);
    // 2^23 was added to each number: 2^7 steps of the highest byte.
    sum += x.step * (floats(high[v] - (ones << 7)) * 0x1p16f + floats(middle[v]) * 0x1p8f + floats(low[v]));
    __builtin_memcpy(sums + v * kLanes, &sum, sizeof sum);
  }
}

#else

void multiply_fixed_point(const int8_t*, const int32_t*, const FixedPoint&, int, float*) {}

#endif

}  // namespace melflow::engine
