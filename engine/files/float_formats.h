#pragma once

#include <bit>
#include <cstdint>

namespace melflow::files {

// Without branches, so that loops over them are vectorised. (_Float16 is not there on every compiler's x86-64.)

/// IEEE 754 binary16 → binary32, exact for every input (subnormals, infinities and NaN payloads included).
inline float float_from_half(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1fu, fraction = half & 0x3ffu;
  const uint32_t normal =
      ((exponent + (127 - 15)) << 23 | fraction << 13) + static_cast<uint32_t>(exponent == 31) * (112u << 23);
  // Zero or subnormal: fraction · 2⁻²⁴, exact in a float.
  const auto tiny = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(fraction)) * 0x1p-24f);
  const uint32_t is_tiny = 0u - static_cast<uint32_t>(exponent == 0);
  return std::bit_cast<float>(sign | (tiny & is_tiny) | (normal & ~is_tiny));
}

/// |value| ≤ 65504, to nearest even.
inline uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  constexpr uint32_t kSmallestNormal = 0x38800000;  // 2^-14
  const uint32_t normal = (size + 0xfff + (size >> 13 & 1) - ((127u - 15) << 23)) >> 13;
  // Below: in steps of 2^-24, to which adding a half rounds; 1,024 of them are the smallest normal number.
  const uint32_t tiny = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  return static_cast<uint16_t>(sign | (size < kSmallestNormal ? tiny : normal));
}

/// bfloat16 is the upper half of a binary32.
inline float float_from_bfloat16(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

}  // namespace melflow::files
