// The loops of TileKernels, written once for any vector length. Included by one source file for each instruction set,
// and by nothing else: everything is in an unnamed namespace and uses no library function, so that no code compiled for
// a newer CPU can be linked into an older one's path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/lanes.h"
#include "engine/kernels/tile_kernels.h"

namespace melflow::engine {
namespace {

typedef float AliasedFloat __attribute__((may_alias));
typedef uint16_t AliasedHalf __attribute__((may_alias));
typedef uint8_t AliasedByte __attribute__((may_alias));

/// Vectors across a panel. Four for each broadcast keep the multipliers fed: two were up to a tenth slower on Zen 3.
constexpr int kVectors = 4;

// What a word is, and how two of them are multiplied and added up; spin() is as many operations as add(), on sums
// alone. Sets with instructions of their own for bfloat16 or int8 bring a class of the same form.

template <int kLanes>
struct Fp32Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Vector;
  using Word = float;
  using Panel = typename L::Vector;
  static Panel load(const std::byte* panel) { return L::load(reinterpret_cast<const float*>(panel)); }
  static void add(Sum& sum, Word row, Panel panel) { sum += row * panel; }
  static void spin(Sum& sum) { sum = sum * 0.999f + 0.001f; }
  static constexpr double kOperations = 2 * kLanes;
};

/// The upper half of a float32 is a bfloat16.
template <int kLanes>
struct Bf16Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Vector;
  using Word = int32_t;
  using Panel = typename L::Integers;
  static Panel load(const std::byte* panel) { return *reinterpret_cast<const typename L::UnalignedIntegers*>(panel); }
  static void add(Sum& sum, Word row, Panel panel) {
    const float low = __builtin_bit_cast(float, row << 16), high = __builtin_bit_cast(float, row & -65536);
    sum += low * __builtin_bit_cast(Sum, panel << 16);
    sum += high * __builtin_bit_cast(Sum, panel & -65536);
  }
  static void spin(Sum& sum) { sum = (sum * 0.999f + 0.001f) * 0.999f + 0.002f; }
  static constexpr double kOperations = 4 * kLanes;
};

/// Rows are unsigned, 128 for zero; panels are signed.
template <int kLanes>
struct Int8Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Integers;
  using Word = int32_t;
  using Panel = typename L::Integers;
  static Panel load(const std::byte* panel) { return *reinterpret_cast<const typename L::UnalignedIntegers*>(panel); }
  static void add(Sum& sum, Word row, Panel panel) {
    sum += (row & 255) * ((panel << 24) >> 24);
    sum += ((row >> 8) & 255) * ((panel << 16) >> 24);
    sum += ((row >> 16) & 255) * ((panel << 8) >> 24);
    sum += ((row >> 24) & 255) * (panel >> 24);
  }
  static void spin(Sum& sum) { sum = (((sum * 3 + 1) * 5 + 1) * 7 + 1) * 9 + 1; }
  static constexpr double kOperations = 8 * kLanes;
};

/// A sum as float32: as it is, or (sum - 128·Σ weights)·scale of the column·scale of the row. The scales and Σ's of a
/// run follow its words.
template <int kLanes>
typename Lanes<kLanes>::Vector finished(typename Lanes<kLanes>::Vector sum, const std::byte*, const std::byte*, int) {
  return sum;
}
template <int kLanes>
typename Lanes<kLanes>::Vector finished(typename Lanes<kLanes>::Integers sum, const std::byte* row,
                                        const std::byte* tail, int column) {
  using L = Lanes<kLanes>;
  const auto* scales = reinterpret_cast<const float*>(tail);
  const auto* offsets = tail + 4 * kVectors * kLanes + 4 * column;
  const auto centred = sum - *reinterpret_cast<const typename L::UnalignedIntegers*>(offsets);
  return __builtin_convertvector(centred, typename L::Vector) * L::load(scales + column) *
         *reinterpret_cast<const AliasedFloat*>(row);
}

template <typename Word>
Word load_word(const std::byte* p) {
  Word out;
  __builtin_memcpy(&out, p, sizeof out);
  return out;
}

/// kRows rows times one run of a panel, in kVectors·kRows registers of sums.
template <template <int> typename Words, int kLanes, int kHeader, int kRows>
void multiply_block(const std::byte* const* rows, ptrdiff_t first, const std::byte* panel, int words, float* sums) {
  using W = Words<kLanes>;
  using L = Lanes<kLanes>;
  constexpr int kWidth = kVectors * kLanes;
  const std::byte* row[kRows];
  typename W::Sum sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    row[r] = rows[r] + kHeader + 4 * first;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[r][v] = typename W::Sum{};
  }
  for (ptrdiff_t k = 0; k < words; ++k) {
    typename W::Panel weights[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) weights[v] = W::load(panel + 4 * (k * kWidth + v * kLanes));
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const auto x = load_word<typename W::Word>(row[r] + 4 * k);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) W::add(sum[r][v], x, weights[v]);
    }
  }
  const std::byte* tail = panel + 4 * static_cast<ptrdiff_t>(words) * kWidth;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* out = sums + r * kWidth + v * kLanes;
      L::store(out, L::load(out) + finished<kLanes>(sum[r][v], rows[r], tail, v * kLanes));
    }
  }
}

/// What is left when no whole block is: the same sums, row for row.
template <template <int> typename Words, int kLanes, int kHeader, int kRows>
void multiply_rest(const std::byte* const* rows, ptrdiff_t first, int count, const std::byte* panel, int words,
                   float* sums) {
  if constexpr (kRows > 0) {
    if (count == kRows) return multiply_block<Words, kLanes, kHeader, kRows>(rows, first, panel, words, sums);
    multiply_rest<Words, kLanes, kHeader, kRows - 1>(rows, first, count, panel, words, sums);
  }
}

template <template <int> typename Words, int kLanes, int kHeader, int kRows>
void multiply(const std::byte* const* rows, ptrdiff_t first, int count, const std::byte* panel, int words,
              float* sums) {
  constexpr int kWidth = kVectors * kLanes;
  // Runs follow each other in memory: while this one is used, the next is on its way.
  const ptrdiff_t bytes = 4 * static_cast<ptrdiff_t>(words) * kWidth;
  const char* next = reinterpret_cast<const char*>(panel) + bytes;
  const ptrdiff_t share = (bytes * kRows / (count > 0 ? count : 1) + 63) & ~ptrdiff_t{63};
  int r = 0;
  for (; r + kRows <= count; r += kRows) {
    for (ptrdiff_t i = 0; i < share; i += 64) __builtin_prefetch(next + i, 0, 2);
    next += share;
    multiply_block<Words, kLanes, kHeader, kRows>(rows + r, first, panel, words, sums + r * kWidth);
  }
  multiply_rest<Words, kLanes, kHeader, kRows - 1>(rows + r, first, count - r, panel, words, sums + r * kWidth);
}

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
  if (!(limit > 0)) {  // zeros, or NaN: the scale says it all
    __builtin_memset(packed + row_header(Precision::int8), 128, static_cast<size_t>(count));
    return;
  }
  const float factor = 127 / limit;
  for (int i = 0; i < count; ++i) {
    const float x = row[i] * factor;
    out[i] = static_cast<uint8_t>(static_cast<int>(x + 128.5f));  // x ≥ -127, so this rounds
  }
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
template <template <int> typename Words, int kLanes, int kRows>
void peak(long rounds) {
  using W = Words<kLanes>;
  constexpr int kSums = kVectors * kRows;
  typename W::Sum sums[kSums];
#pragma GCC unroll 32
  for (int i = 0; i < kSums; ++i) sums[i] = typename W::Sum{} + static_cast<decltype(sums[0][0] + 0)>(i);
  for (long n = 0; n < rounds; ++n) {
#pragma GCC unroll 32
    for (int i = 0; i < kSums; ++i) W::spin(sums[i]);
  }
  auto all = sums[0];
#pragma GCC unroll 32
  for (int i = 1; i < kSums; ++i) all += sums[i];
  volatile auto keep = all[0];  // else nothing would be computed
  (void)keep;
}

template <template <int> typename Words, int kLanes, int kRows>
constexpr TileProduct make_product(Precision precision, decltype(TileProduct::pack_row) pack_row) {
  constexpr int kFirstLevelBytes = 16384;  // half of the smallest first-level cache that is about
  constexpr int kRun = kFirstLevelBytes / (kVectors * kLanes * 4);
  constexpr double kOperations = Words<kLanes>::kOperations * kVectors * kRows;
  // The scales of int8 belong to a run, so that its length is part of the arithmetic: the same in every set.
  if (precision == Precision::int8) {
    return {64, pack_row, multiply<Words, kLanes, row_header(Precision::int8), kRows>, peak<Words, kLanes, kRows>,
            kOperations};
  }
  return {kRun, pack_row, multiply<Words, kLanes, 0, kRows>, peak<Words, kLanes, kRows>, kOperations};
}

template <int kLanes, int kRows>
constexpr TileKernels make_tile_kernels(const char* name) {
  return {name,
          kVectors * kLanes,
          kRows,
          {make_product<Fp32Words, kLanes, kRows>(Precision::fp32, pack_fp32),
           make_product<Bf16Words, kLanes, kRows>(Precision::bf16, pack_bf16),
           make_product<Int8Words, kLanes, kRows>(Precision::int8, pack_int8<kLanes>)},
          gate<kLanes>};
}

}  // namespace
}  // namespace melflow::engine
