#include "cpu/words.h"

#include <cstring>
#include <utility>

#include "cpu/clones.h"

namespace melflow::cpu {
namespace {

typedef uint32_t Words __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Sixteen __attribute__((vector_size(64)));

/// In the upper half: bfloat16, where the lower half is cut off.
inline uint32_t rounded(float x) {
  const auto bits = __builtin_bit_cast(uint32_t, x);
  return x == x ? bits + 0x7fff + ((bits >> 16) & 1) : 0x7fc00000;
}

MELFLOW_CPU_CLONES void pair_up(const float* first, const float* second, int count, uint32_t* words) {
#pragma GCC ivdep
  for (int c = 0; c < count; ++c) words[c] = (rounded(first[c]) >> 16) | (rounded(second[c]) & 0xffff0000);
}

MELFLOW_CPU_CLONES void round_first(const float* first, int count, uint32_t* words) {
#pragma GCC ivdep
  for (int c = 0; c < count; ++c) words[c] = rounded(first[c]) >> 16;
}

/// Columns kBit apart change places with rows that far apart.
template <int kBit, size_t... I>
[[gnu::always_inline]] inline void exchange(Sixteen* rows, std::index_sequence<I...>) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    if ((r & kBit) != 0) continue;
    const auto a = rows[r], b = rows[r + kBit];
    rows[r] = __builtin_shufflevector(a, b, (I & kBit ? 16 + I - kBit : I)...);
    rows[r + kBit] = __builtin_shufflevector(a, b, (I & kBit ? 16 + I : I + kBit)...);
  }
}
template <int kBit>
[[gnu::always_inline]] inline void exchange(Sixteen* rows) {
  exchange<kBit>(rows, std::make_index_sequence<16>());
}

MELFLOW_CPU_CLONES void transpose(const uint32_t* words, ptrdiff_t apart, int columns, uint32_t* out,
                                  ptrdiff_t out_apart) {
  for (int c = 0; c < columns; c += 16) {
    Sixteen rows[16];
#pragma GCC unroll 16
    for (int w = 0; w < 16; ++w) rows[w] = *reinterpret_cast<const Words*>(words + w * apart + c);
    exchange<1>(rows);
    exchange<2>(rows);
    exchange<4>(rows);
    exchange<8>(rows);
    if (columns - c >= 16) {
#pragma GCC unroll 16
      for (int w = 0; w < 16; ++w) *reinterpret_cast<Words*>(out + (c + w) * out_apart) = rows[w];
    } else {
      for (int w = 0; w < columns - c; ++w) *reinterpret_cast<Words*>(out + (c + w) * out_apart) = rows[w];
    }
  }
}

}  // namespace

void pack_words(Precision precision, const float* first, const float* second, int count, std::byte* words) {
  if (precision == Precision::fp32) {
    std::memcpy(words, first, 4 * static_cast<size_t>(count));
    return;
  }
  auto* const out = reinterpret_cast<uint32_t*>(words);
  second != nullptr ? pair_up(first, second, count, out) : round_first(first, count, out);
}

void transpose_words(const std::byte* words, ptrdiff_t apart, int columns, std::byte* out, ptrdiff_t out_apart) {
  transpose(reinterpret_cast<const uint32_t*>(words), apart, columns, reinterpret_cast<uint32_t*>(out), out_apart);
}

}  // namespace melflow::cpu
