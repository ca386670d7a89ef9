#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace melflow::files {

/// IEEE 754 binary16 → binary32, exact for every input (subnormals, infinities and NaN payloads included).
inline float float_from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: fraction · 2⁻²⁴, exact in a float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide_exponent = exponent == 31 ? 255 : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

/// |value| ≤ 65504, to nearest even. (_Float16 is not there on every compiler's x86-64.)
inline uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  constexpr uint32_t kSmallestNormal = 0x38800000;  // 2^-14
  if (size < kSmallestNormal) {                     // in steps of 2^-24, of which 1,024 are the smallest normal one
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(std::abs(value) * 0x1p24f)));
  }
  const uint32_t rounded = size + 0xfff + (size >> 13 & 1);
  return static_cast<uint16_t>(sign | (rounded - ((127u - 15) << 23)) >> 13);
}

/// bfloat16 is the upper half of a binary32.
inline float float_from_bfloat16(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

}  // namespace melflow::files
