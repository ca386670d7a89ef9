// Vectors of any length, and the functions of a gate on them. Included through tile_kernels_lanes.h alone, whose rule
// holds here too: an unnamed namespace, no library function.
#pragma once

#include <cstdint>

namespace melflow::engine {
namespace {

/// Vectors of kLanes floats as GCC and Clang know them; where the CPU's are shorter, the compiler makes pairs.
template <int kLanes>
struct Lanes {
  typedef float Vector __attribute__((vector_size(4 * kLanes)));
  typedef int32_t Integers __attribute__((vector_size(4 * kLanes)));
  typedef float Unaligned __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
  typedef int32_t UnalignedIntegers __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

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

}  // namespace
}  // namespace melflow::engine
