// What rows and panels are made of, and how two words are multiplied and added up. Included through
// tile_kernels_lanes.h alone, whose rule holds here too: an unnamed namespace, no library function.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/lanes.h"
#include "cpu/row_packing.h"
#include "cpu/tile_kernels.h"

namespace melflow::cpu {
namespace {

/// Vectors across a panel. Four for each broadcast keep the multipliers fed: two were up to a tenth slower on Zen 3.
constexpr int kVectors = 4;

// What a word is, and how two of them are multiplied and added up; finished() is a run's sum as float32, where the
// scales and Σ's of int8 lie behind the run's words; spin() is as many operations as add(), on sums alone. Sets with
// instructions of their own for bfloat16 or int8 bring a class of the same form; the others widen (below).

template <int kLanes>
struct Fp32Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Vector;
  using Word = float;
  using Panel = typename L::Vector;
  static Panel load(const std::byte* panel) { return L::load(reinterpret_cast<const float*>(panel)); }
  static void add(Sum& sum, Word row, Panel panel) { sum += row * panel; }
  static Sum finished(Sum sum, const std::byte*, const std::byte*, int) { return sum; }
  static void spin(Sum& sum) { sum = sum * 0.999f + 0.001f; }
  static constexpr double kOperations = 2 * kLanes;
};

/// Pairs of bfloat16, for an instruction that multiplies them.
template <int kLanes>
struct Bf16Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Vector;
  using Word = int32_t;
  using Panel = typename L::Integers;
  static Panel load(const std::byte* panel) { return *reinterpret_cast<const typename L::UnalignedIntegers*>(panel); }
  static Sum finished(Sum sum, const std::byte*, const std::byte*, int) { return sum; }
  static constexpr double kOperations = 4 * kLanes;
};

/// sum·scale of the column·scale of the row.
template <int kLanes>
typename Lanes<kLanes>::Vector scaled(typename Lanes<kLanes>::Vector sum, const std::byte* row, const std::byte* tail,
                                      int column) {
  return sum * Lanes<kLanes>::load(reinterpret_cast<const float*>(tail) + column) *
         *reinterpret_cast<const AliasedFloat*>(row);
}

/// Fours of bytes, for an instruction that multiplies them. Rows are unsigned, 128 for zero; panels are signed.
template <int kLanes>
struct Int8Words {
  using L = Lanes<kLanes>;
  using Sum = typename L::Integers;
  using Word = int32_t;
  using Panel = typename L::Integers;
  static Panel load(const std::byte* panel) { return *reinterpret_cast<const typename L::UnalignedIntegers*>(panel); }
  static typename L::Vector finished(Sum sum, const std::byte* row, const std::byte* tail, int column) {
    const auto* offsets = tail + 4 * kVectors * kLanes + 4 * column;
    const auto centred = sum - *reinterpret_cast<const typename L::UnalignedIntegers*>(offsets);
    return scaled<kLanes>(__builtin_convertvector(centred, typename L::Vector), row, tail, column);
  }
  static constexpr double kOperations = 8 * kLanes;
};

/// Fours of bytes as float32. A run of int8 sums up to less than 2^24, so these sums are exact.
template <int kLanes>
struct Int8AsFloats : Fp32Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Vector;
  static Sum finished(Sum sum, const std::byte* row, const std::byte* tail, int column) {
    return scaled<kLanes>(sum, row, tail, column);
  }
};

// Words for sets that have no instruction for them: a run of a panel is widened once for all rows, rows as they come.
// `Wide` is what they become, kFactor words for each. panel() writes what follows a run's words, too.

template <int kLanes>
struct WidenedBf16 {
  using Wide = Fp32Words<kLanes>;
  static constexpr int kFactor = 2;
  static void panel(const std::byte* run, int words, std::byte* wide) {
    using L = Lanes<kLanes>;
    auto* out = reinterpret_cast<float*>(wide);
    for (int k = 0; k < words; ++k, out += 2 * kVectors * kLanes) {
      for (int v = 0; v < kVectors; ++v) {
        const auto pair = Bf16Words<kLanes>::load(run + 4 * (k * kVectors + v) * kLanes);
        L::store(out + v * kLanes, __builtin_bit_cast(typename L::Vector, pair << 16));
        L::store(out + (kVectors + v) * kLanes, __builtin_bit_cast(typename L::Vector, pair & -65536));
      }
    }
  }
  static void row(const std::byte* row, ptrdiff_t first, int words, std::byte* wide) {
    const auto* from = reinterpret_cast<const AliasedHalf*>(row) + 2 * first;
    auto* out = reinterpret_cast<AliasedWord*>(wide);
    for (int i = 0; i < 2 * words; ++i) out[i] = uint32_t{from[i]} << 16;
  }
};

/// Words of a packed row of int8 as signed numbers of another type, behind a header with the same scale.
template <typename Number>
void widen_bytes(const std::byte* row, ptrdiff_t first, int words, std::byte* wide) {
  constexpr int kHeader = row_header(Precision::int8);
  __builtin_memcpy(wide, row, sizeof(float));
  const auto* from = reinterpret_cast<const AliasedByte*>(row) + kHeader + 4 * first;
  auto* out = reinterpret_cast<Number*>(wide + kHeader);
  for (int i = 0; i < 4 * words; ++i) out[i] = static_cast<Number>(from[i] - 128);
}

template <int kLanes>
struct WidenedInt8 {
  using Wide = Int8AsFloats<kLanes>;
  static constexpr int kFactor = 4;
  static void panel(const std::byte* run, int words, std::byte* wide) {
    using L = Lanes<kLanes>;
    constexpr int kWidth = kVectors * kLanes;
    auto* out = reinterpret_cast<float*>(wide);
    for (int k = 0; k < words; ++k, out += 4 * kWidth) {
      for (int v = 0; v < kVectors; ++v) {
        const auto four = Int8Words<kLanes>::load(run + 4 * (k * kVectors + v) * kLanes);
        for (int i = 0; i < 4; ++i) {
          L::store(out + (i * kVectors + v) * kLanes,
                   __builtin_convertvector((four << (24 - 8 * i)) >> 24, typename L::Vector));
        }
      }
    }
    __builtin_memcpy(out, run + 4 * static_cast<ptrdiff_t>(words) * kWidth, 4 * kWidth);  // the scales
  }
  static void row(const std::byte* row, ptrdiff_t first, int words, std::byte* wide) {
    widen_bytes<AliasedFloat>(row, first, words, wide);
  }
};

/// Pairs of 16 bits, for an instruction that multiplies them.
template <int kLanes>
struct Int16Words : Int8Words<kLanes> {
  static typename Lanes<kLanes>::Vector finished(typename Lanes<kLanes>::Integers sum, const std::byte* row,
                                                 const std::byte* tail, int column) {
    return scaled<kLanes>(__builtin_convertvector(sum, typename Lanes<kLanes>::Vector), row, tail, column);
  }
  static constexpr double kOperations = 4 * kLanes;
};

/// Bytes as pairs of 16 bits, which `Pairs` multiplies.
template <int kLanes, typename Pairs>
struct WidenedToInt16 {
  using Wide = Pairs;
  static constexpr int kFactor = 2;
  static void panel(const std::byte* run, int words, std::byte* wide) {
    using L = Lanes<kLanes>;
    constexpr int kWidth = kVectors * kLanes;
    const auto store = [](std::byte* out, typename L::Integers low, typename L::Integers high) {
      *reinterpret_cast<typename L::UnalignedIntegers*>(out) = (low & 0xffff) | (high << 16);
    };
    for (int k = 0; k < words; ++k, wide += 8 * kWidth) {
      for (int v = 0; v < kVectors; ++v) {
        const auto four = Int8Words<kLanes>::load(run + 4 * (k * kVectors + v) * kLanes);
        store(wide + 4 * v * kLanes, (four << 24) >> 24, (four << 16) >> 24);
        store(wide + 4 * (kVectors + v) * kLanes, (four << 8) >> 24, four >> 24);
      }
    }
    __builtin_memcpy(wide, run + 4 * static_cast<ptrdiff_t>(words) * kWidth, 4 * kWidth);  // the scales
  }
  static void row(const std::byte* row, ptrdiff_t first, int words, std::byte* wide) {
    widen_bytes<AliasedShort>(row, first, words, wide);
  }
};

}  // namespace
}  // namespace melflow::cpu
