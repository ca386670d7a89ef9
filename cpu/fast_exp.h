// eˣ for kernels. Everything is in an unnamed namespace, is part of its caller and calls no library function, so that
// no code compiled for a newer CPU can be linked into an older one's path.
#pragma once

#include <cstdint>
#include <type_traits>

namespace melflow::cpu {
namespace {

/// x, but within ±limit; written so that a NaN compares false and stays. V: float, or a vector of them.
template <typename V>
[[gnu::always_inline]] inline V clamped(V x, float limit) {
  const V high = limit - V{}, low = -high;
  x = x > high ? high : x;
  return x < low ? low : x;
}

/// eˣ for |x| ≤ 87, to 2 units in the last place: x = n·ln 2 + r, a polynomial in r (Cephes' expf), 2ⁿ by its bits. No
/// branch, so that loops over it are vectorised. V: float, or a vector of them.
template <typename V>
[[gnu::always_inline]] inline V fast_exp(V x) {
  using Bits = std::conditional_t<std::is_same_v<V, float>, int32_t, decltype(x > x)>;
  constexpr float kRound = 12582912.0f;  // 1.5·2²³: adding and taking it away rounds to whole numbers
  const V shifted = x * 1.44269504088896341f + kRound;
  const V n = shifted - kRound;
  const V r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const Bits power = (__builtin_bit_cast(Bits, shifted) << 23) + (127 << 23);
  return p * __builtin_bit_cast(V, power);
}

}  // namespace
}  // namespace melflow::cpu
