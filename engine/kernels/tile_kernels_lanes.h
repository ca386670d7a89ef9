// The loops of TileKernels, written once for any vector length. Included by one source file for each instruction set,
// and by nothing else: everything is in an unnamed namespace and uses no library function, so that no code compiled for
// a newer CPU can be linked into an older one's path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/tile_kernels.h"

namespace melflow::engine {
namespace {

/// Vectors of kLanes floats as GCC and Clang know them; where the CPU's are shorter, the compiler makes pairs.
template <int kLanes>
struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * kLanes)));
  typedef int32_t Integers __attribute__((vector_size(4 * kLanes)));
  typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

  static Vector load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
  static void store(float* p, Vector v) { *reinterpret_cast<Unaligned*>(p) = v; }
  static Vector all(float x) { return x - Vector{}; }

  /// eˣ for |x| ≤ 87, to 2 units in the last place: x = n·ln 2 + r, a polynomial in r (Cephes' expf), 2ⁿ by its bits.
  static Vector exp(Vector x) {
    constexpr float kRound = 12582912.0f;  // 1.5·2²³: adding and taking it away rounds to whole numbers
    const Vector shifted = x * 1.44269504088896341f + kRound;
    const Vector n = shifted - kRound;
    const Vector r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    const Integers power = (__builtin_bit_cast(Integers, shifted) << 23) + (127 << 23);
    return p * __builtin_bit_cast(Vector, power);
  }

  /// Written so that a NaN compares false and stays.
  static Vector clamp(Vector x, float limit) {
    const Vector high = all(limit), low = all(-limit);
    x = x > high ? high : x;
    return x < low ? low : x;
  }

  /// tanh(a)·sigmoid(b) with one division: (1 - e^-2a) / ((1 + e^-2a)(1 + e^-b)).
  static Vector gate(Vector a, Vector b) {
    const Vector ea = exp(clamp(a, 10.0f) * -2.0f), eb = exp(-clamp(b, 60.0f));
    return (1.0f - ea) / ((1.0f + ea) * (1.0f + eb));
  }
};

/// Vectors across a panel. Four for each broadcast keep the multipliers fed: two were up to a tenth slower on Zen 3.
constexpr int kVectors = 4;

/// kRows rows times one panel, in kVectors·kRows registers of sums.
template <int kLanes, int kRows>
void multiply_block(const float* const* rows, ptrdiff_t first, const float* panel, int depth, float* sums) {
  using L = Lanes<kLanes>;
  constexpr int kWidth = kVectors * kLanes;
  const float* row[kRows];
  typename L::Vector sum[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    row[r] = rows[r] + first;
    for (int v = 0; v < kVectors; ++v) sum[r][v] = typename L::Vector{};
  }
  for (ptrdiff_t k = 0; k < depth; ++k) {
    typename L::Vector weights[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) weights[v] = L::load(panel + k * kWidth + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto x = row[r][k];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[r][v] += x * weights[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* out = sums + r * kWidth + v * kLanes;
      L::store(out, L::load(out) + sum[r][v]);
    }
  }
}

/// What is left when no whole block is: the same sums, row for row.
template <int kLanes, int kRows>
void multiply_rest(const float* const* rows, ptrdiff_t first, int count, const float* panel, int depth, float* sums) {
  if constexpr (kRows > 0) {
    if (count == kRows) return multiply_block<kLanes, kRows>(rows, first, panel, depth, sums);
    multiply_rest<kLanes, kRows - 1>(rows, first, count, panel, depth, sums);
  }
}

template <int kLanes, int kRows>
void multiply(const float* const* rows, ptrdiff_t first, int count, const float* panel, int depth, float* sums) {
  constexpr int kWidth = kVectors * kLanes;
  // Panels follow each other in memory: while this one is used, the next is on its way.
  const char* next = reinterpret_cast<const char*>(panel + static_cast<ptrdiff_t>(depth) * kWidth);
  const ptrdiff_t bytes = static_cast<ptrdiff_t>(depth) * kWidth * 4;
  const ptrdiff_t share = (bytes * kRows / (count > 0 ? count : 1) + 63) & ~ptrdiff_t{63};
  int r = 0;
  for (; r + kRows <= count; r += kRows) {
    for (ptrdiff_t i = 0; i < share; i += 64) __builtin_prefetch(next + i);
    next += share;
    multiply_block<kLanes, kRows>(rows + r, first, panel, depth, sums + r * kWidth);
  }
  multiply_rest<kLanes, kRows - 1>(rows + r, first, count - r, panel, depth, sums + r * kWidth);
}

template <int kLanes>
void gate(const float* sums, int count, float* out, ptrdiff_t stride) {
  using L = Lanes<kLanes>;
  constexpr int kHalf = kVectors / 2 * kLanes;
  for (int r = 0; r < count; ++r, sums += 2 * kHalf) {
    for (int c = 0; c < kHalf; c += kLanes) {
      L::store(out + r * stride + c, L::gate(L::load(sums + c), L::load(sums + kHalf + c)));
    }
  }
}

/// As many independent sums as multiply_block keeps, so that latency hides behind throughput in the same way.
template <int kLanes, int kRows>
void peak(long rounds) {
  using Vector = typename Lanes<kLanes>::Vector;
  constexpr int kSums = kVectors * kRows;
  Vector sums[kSums];
#pragma GCC unroll 32
  for (int i = 0; i < kSums; ++i) sums[i] = Lanes<kLanes>::all(static_cast<float>(i));
  const Vector factor = Lanes<kLanes>::all(0.999f), addend = Lanes<kLanes>::all(0.001f);
  for (long n = 0; n < rounds; ++n) {
#pragma GCC unroll 32
    for (int i = 0; i < kSums; ++i) sums[i] = sums[i] * factor + addend;
  }
  float all = 0;
#pragma GCC unroll 32
  for (int i = 0; i < kSums; ++i) all += sums[i][0];
  volatile float keep = all;  // else nothing would be computed
  (void)keep;
}

template <int kLanes, int kRows>
constexpr TileKernels make_tile_kernels(const char* name) {
  constexpr int kFirstLevelBytes = 16384;  // half of the smallest first-level cache that is about
  return {name,
          kVectors * kLanes,
          kRows,
          kFirstLevelBytes / (kVectors * kLanes * 4),
          multiply<kLanes, kRows>,
          gate<kLanes>,
          peak<kLanes, kRows>,
          2.0 * kVectors * kRows * kLanes};
}

}  // namespace
}  // namespace melflow::engine
