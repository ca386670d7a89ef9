// The loops of TileKernels, written once for any vector length. Included by one source file for each instruction set,
// and by nothing else: everything is in an unnamed namespace and uses no library function, so that no code compiled for
// a newer CPU can be linked into an older one's path.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/row_packing.h"
#include "cpu/tile_kernels.h"
#include "cpu/tile_words.h"

namespace melflow::cpu {
namespace {

template <typename Word>
Word load_word(const std::byte* p) {
  Word out;
  __builtin_memcpy(&out, p, sizeof out);
  return out;
}

/// kRows rows times one run of a panel, in kVectors·kRows registers of sums.
template <typename W, int kLanes, int kHeader, int kRows>
void multiply_block(const std::byte* const* rows, ptrdiff_t first, const std::byte* panel, int words, float* sums) {
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
      L::store(out, L::load(out) + W::finished(sum[r][v], rows[r], tail, v * kLanes));
    }
  }
}

/// What is left when no whole block is: the same sums, row for row.
template <typename W, int kLanes, int kHeader, int kRows>
void multiply_rest(const std::byte* const* rows, ptrdiff_t first, int count, const std::byte* panel, int words,
                   float* sums) {
  if constexpr (kRows > 0) {
    if (count == kRows) return multiply_block<W, kLanes, kHeader, kRows>(rows, first, panel, words, sums);
    multiply_rest<W, kLanes, kHeader, kRows - 1>(rows, first, count, panel, words, sums);
  }
}

/// Runs, and panels, follow each other in memory: while one is used, the next is on its way from where that ends, a
/// share of so many `bytes` at a time: `part` of `whole`.
struct FetchAhead {
  FetchAhead(const std::byte* end, ptrdiff_t bytes, int part, int whole)
      : at(reinterpret_cast<const char*>(end)), share((bytes * part / (whole > 0 ? whole : 1) + 63) & -64) {}
  void fetch_share() {
    for (ptrdiff_t i = 0; i < share; i += 64) __builtin_prefetch(at + i, 0, 2);
    at += share;
  }
  const char* at;
  ptrdiff_t share;
};

/// The rows of the next block, while one is multiplied: many are too far apart for a processor to guess them.
template <int kRows>
void fetch_rows(const std::byte* const* rows, int count, ptrdiff_t first, int bytes) {
  for (int r = 0; r < kRows && r < count; ++r) {
    for (int i = 0; i < bytes; i += 64) __builtin_prefetch(reinterpret_cast<const char*>(rows[r]) + first + i);
  }
}

template <typename W, int kLanes, int kHeader, int kRows>
void multiply(const TileRun* runs, int n, int count, float* sums) {
  constexpr int kWidth = kVectors * kLanes;
  for (const TileRun* run = runs; run < runs + n; ++run) {
    const auto& [rows, first, panel, words] = *run;
    const ptrdiff_t bytes = 4 * static_cast<ptrdiff_t>(words) * kWidth;
    FetchAhead next(panel + bytes, bytes, kRows, count);
    int r = 0;
    for (; r + kRows <= count; r += kRows) {
      next.fetch_share();
      fetch_rows<kRows>(rows + r + kRows, count - r - kRows, kHeader + 4 * first, 4 * words);
      multiply_block<W, kLanes, kHeader, kRows>(rows + r, first, panel, words, sums + r * kWidth);
    }
    multiply_rest<W, kLanes, kHeader, kRows - 1>(rows + r, first, count - r, panel, words, sums + r * kWidth);
  }
}

/// multiply() by a widening's words; `kRun` words at most.
template <typename Widened, int kLanes, int kHeader, int kRows, int kRun>
void multiply_widened(const TileRun& run, int count, float* sums) {
  constexpr int kWidth = kVectors * kLanes, kWords = Widened::kFactor * kRun;
  alignas(64) std::byte panel[4 * (kWords + 1) * kWidth], wide[kRows][kHeader + 4 * kWords];
  const ptrdiff_t bytes = 4 * static_cast<ptrdiff_t>(run.words) * kWidth;
  FetchAhead next(run.panel + bytes, bytes, kRows, count);
  Widened::panel(run.panel, run.words, panel);
  const std::byte* at[kRows];
  for (int r = 0; r < kRows; ++r) at[r] = wide[r];
  for (int r = 0; r < count; r += kRows) {
    next.fetch_share();
    const int block = count - r < kRows ? count - r : kRows;
    for (int i = 0; i < block; ++i) Widened::row(run.rows[r + i], run.first, run.words, wide[i]);
    multiply_rest<typename Widened::Wide, kLanes, kHeader, kRows>(at, 0, block, panel, Widened::kFactor * run.words,
                                                                  sums + r * kWidth);
  }
}

template <typename Widened, int kLanes, int kHeader, int kRows, int kRun>
void multiply_widened(const TileRun* runs, int n, int count, float* sums) {
  for (int i = 0; i < n; ++i) multiply_widened<Widened, kLanes, kHeader, kRows, kRun>(runs[i], count, sums);
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
template <typename W, int kLanes, int kRows>
void peak(long rounds) {
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

/// The scales of int8 belong to a run, so that its length is part of the arithmetic: the same in every set.
constexpr int kInt8Run = 64;
/// Bytes of a run: half of the smallest first-level cache that is about.
constexpr int kRunBytes = 16384;

template <typename W, int kLanes, int kRows>
constexpr TileProduct make_product(Precision precision, decltype(TileProduct::pack_row) pack_row) {
  constexpr int kRun = kRunBytes / (kVectors * kLanes * 4);
  constexpr double kOperations = W::kOperations * kVectors * kRows;
  if (precision == Precision::int8) {
    return {
        kInt8Run,   kRows, pack_row, multiply<W, kLanes, row_header(Precision::int8), kRows>, peak<W, kLanes, kRows>,
        kOperations};
  }
  return {kRun, kRows, pack_row, multiply<W, kLanes, 0, kRows>, peak<W, kLanes, kRows>, kOperations};
}

template <typename Widened, int kLanes, int kRows>
constexpr TileProduct make_widened_product(Precision precision, decltype(TileProduct::pack_row) pack_row) {
  using W = typename Widened::Wide;
  constexpr double kOperations = W::kOperations * kVectors * kRows;
  if (precision == Precision::int8) {
    return {kInt8Run,
            kRows,
            pack_row,
            multiply_widened<Widened, kLanes, row_header(Precision::int8), kRows, kInt8Run>,
            peak<W, kLanes, kRows>,
            kOperations};
  }
  constexpr int kRun = kRunBytes / (kVectors * kLanes * 4 * Widened::kFactor);
  return {kRun,       kRows, pack_row, multiply_widened<Widened, kLanes, 0, kRows, kRun>, peak<W, kLanes, kRows>,
          kOperations};
}

/// A set without instructions for bfloat16; `Bytes` widens those of int8.
template <int kLanes, int kRows, template <int> typename Bytes = WidenedInt8>
constexpr TileKernels make_tile_kernels(const char* name) {
  return {name,
          kVectors * kLanes,
          kTileRows,
          {make_product<Fp32Words<kLanes>, kLanes, kRows>(Precision::fp32, pack_fp32),
           make_widened_product<WidenedBf16<kLanes>, kLanes, kRows>(Precision::bf16, pack_bf16),
           make_widened_product<Bytes<kLanes>, kLanes, kRows>(Precision::int8, pack_int8<kLanes>)},
          gate<kLanes>};
}

}  // namespace
}  // namespace melflow::cpu
