#pragma once

#include <bit>
#include <cstdint>

namespace melflow::audio {

/// ln(x) of a positive normal number, within 2 units in the last place or 2e-7; no branch, so that loops of it
/// vectorise. x = 2^e·(1 + f), f in [-1/3, 1/3); ln(1 + f) = f - f²/2 + f³·P(f), P of degree 7 fitted by weighted
/// least squares to a largest error of 1.1e-9.
inline float fast_log(float x) {
  constexpr int32_t kTwoThirds = 0x3f2aaaab;
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t exponent = (bits - kTwoThirds) & static_cast<int32_t>(0xff800000u);
  const float f = std::bit_cast<float>(bits - exponent) - 1.0f;
  const float e = static_cast<float>(exponent) * 0x1p-23f;
  const float f2 = f * f;
  // Two short chains (even and odd powers) instead of one long one.
  const float even = ((-0.13346261f * f2 * f) + 0.14156245f * f2 + 0.13967314f) * f2 + 0.20013075f;
  const float odd = -0.120740645f * f2 - 0.16688986f;
  const float p = 0.3333316f + f * -0.24999592f + f2 * (even + f * odd);
  return e * 0.693147182f + (f + f2 * (f * p - 0.5f));
}

}  // namespace melflow::audio
