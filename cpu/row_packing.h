// TileProduct::pack_row, for any vector length. Included through tile_kernels_lanes.h alone, whose rule holds here too:
// an unnamed namespace, no library function.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/lanes.h"
#include "cpu/tile_kernels.h"

namespace melflow::cpu {
namespace {

typedef float AliasedFloat __attribute__((may_alias));
typedef int16_t AliasedShort __attribute__((may_alias));
typedef uint16_t AliasedHalf __attribute__((may_alias));
typedef uint32_t AliasedWord __attribute__((may_alias));
typedef uint8_t AliasedByte __attribute__((may_alias));

inline void pack_fp32(const float* row, int count, std::byte* packed) {
  __builtin_memcpy(packed, row, 4 * static_cast<size_t>(count));
}

/// To the nearest, ties to even.
inline void pack_bf16(const float* row, int count, std::byte* packed) {
  auto* out = reinterpret_cast<AliasedHalf*>(packed);
  for (int i = 0; i < count; ++i) {
    const float x = row[i];
    const auto bits = __builtin_bit_cast(uint32_t, x);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    out[i] = static_cast<uint16_t>(x == x ? rounded : 0x7fc0);
  }
}

/// The largest |number| of a row; NaN where it holds NaN or infinity.
template <int kLanes>
float largest(const float* row, int count) {
  using L = Lanes<kLanes>;
  typename L::Vector limits{}, zeros{};  // NaN is never larger: zeros tells of it, and of infinity
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto x = L::load(row + i), size = x < 0 ? -x : x;
    limits = size > limits ? size : limits;
    zeros += x * 0.0f;
  }
  float limit = 0, zero = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    limit = limits[lane] > limit ? limits[lane] : limit;
    zero += zeros[lane];
  }
  for (; i < count; ++i) {
    const float size = row[i] < 0 ? -row[i] : row[i];
    limit = size > limit ? size : limit;
    zero += row[i] * 0.0f;
  }
  return limit + zero;
}

template <int kLanes>
void pack_int8(const float* row, int count, std::byte* packed) {
  const float limit = largest<kLanes>(row, count), scale = limit / 127;
  __builtin_memcpy(packed, &scale, sizeof scale);
  auto* out = reinterpret_cast<AliasedByte*>(packed) + row_header(Precision::int8);
  if (!(limit > 1e-30f)) {  // as good as zeros, or NaN: the scale says it all
    __builtin_memset(packed + row_header(Precision::int8), 128, static_cast<size_t>(count));
    return;
  }
  const float factor = 127 / limit;
  for (int i = 0; i < count; ++i) {
    const float x = row[i] * factor;
    out[i] = static_cast<uint8_t>(static_cast<int>(x + 128.5f));  // x ≥ -127, so this rounds
  }
}

}  // namespace
}  // namespace melflow::cpu
