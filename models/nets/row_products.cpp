#include "models/nets/row_products.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cpu/levels.h"

namespace melflow::models {
namespace {

constexpr int kVectors = 2;        ///< of a panel's row; in its last panel perhaps one
constexpr int64_t kDepth = 256;    ///< of k at a time: so much of a panel stays in the first cache
constexpr int64_t kMaxWidth = 32;  ///< columns of a panel, and
constexpr int kMaxRows = 14;       ///< rows of a tile, on any machine

/// c [kRows, vectors] += a · b: sums in registers. a's entry (row, k) is at row·a_row + k·a_k; b is packed.
using Tile = void (*)(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t k, float* c, int64_t c_row);

template <int kLanes, int kRows, int kWide>
[[gnu::always_inline]] inline void tile(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t k, float* c,
                                        int64_t c_row) {
  typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(alignof(float)), may_alias));
  Vector sums[kRows][kWide];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kWide; ++j) sums[i][j] = *reinterpret_cast<const Vector*>(c + i * c_row + j * kLanes);
  }
  for (; k > 0; --k, a += a_k, b += kWide * kLanes) {
    Vector row[kWide];
#pragma GCC unroll 2
    for (int j = 0; j < kWide; ++j) row[j] = *reinterpret_cast<const Vector*>(b + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kWide; ++j) sums[i][j] += a[i * a_row] * row[j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kWide; ++j) *reinterpret_cast<Vector*>(c + i * c_row + j * kLanes) = sums[i][j];
  }
}

/// What a processor multiplies with: as many rows as its registers hold beside a row of b.
struct Kernel {
  int64_t lanes, rows;
  const Tile* tiles[kVectors];  ///< by vectors - 1, then rows - 1
};

template <int kLanes, int kRows, int kWide>
void tile_plain(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t k, float* c, int64_t c_row) {
  tile<kLanes, kRows, kWide>(a, a_row, a_k, b, k, c, c_row);
}
#if defined(__x86_64__)
template <int kLanes, int kRows, int kWide>
[[gnu::target("arch=x86-64-v3")]] void tile_v3(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t k,
                                               float* c, int64_t c_row) {
  tile<kLanes, kRows, kWide>(a, a_row, a_k, b, k, c, c_row);
}
template <int kLanes, int kRows, int kWide>
[[gnu::target("arch=x86-64-v4")]] void tile_v4(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t k,
                                               float* c, int64_t c_row) {
  tile<kLanes, kRows, kWide>(a, a_row, a_k, b, k, c, c_row);
}
#endif

#define MELFLOW_TILES(name, function, lanes)                                              \
  template <int kWide, int... kRow>                                                       \
  constexpr std::array<Tile, sizeof...(kRow)> name(std::integer_sequence<int, kRow...>) { \
    return {function<lanes, kRow + 1, kWide>...};                                         \
  }
MELFLOW_TILES(plain_tiles, tile_plain, 4)
#if defined(__x86_64__)
MELFLOW_TILES(v3_tiles, tile_v3, 8)
MELFLOW_TILES(v4_tiles, tile_v4, 16)
#endif
#undef MELFLOW_TILES

Kernel best() {
  constexpr std::make_integer_sequence<int, 6> kSix;
#if defined(__x86_64__)
  constexpr std::make_integer_sequence<int, kMaxRows> kFourteen;
  static constexpr auto k512One = v4_tiles<1>(kFourteen), k512Two = v4_tiles<2>(kFourteen);
  static constexpr auto k256One = v3_tiles<1>(kSix), k256Two = v3_tiles<2>(kSix);
  if (cpu::has_v4()) return {16, kMaxRows, {k512One.data(), k512Two.data()}};
  if (cpu::has_v3()) return {8, 6, {k256One.data(), k256Two.data()}};
#endif
  static constexpr auto kOne = plain_tiles<1>(kSix), kTwo = plain_tiles<2>(kSix);
  return {4, 6, {kOne.data(), kTwo.data()}};
}

const Kernel& kernel() {
  static const Kernel chosen = best();
  return chosen;
}

/// How many numbers a panel of so many columns has in a row.
int64_t padded(int64_t columns) {
  const auto lanes = kernel().lanes;
  return (columns + lanes - 1) / lanes * lanes;
}

/// c [m, n] += a · b of one packed panel, in tiles of about as many rows each.
void add_panel(const float* a, int64_t a_row, int64_t a_k, int64_t m, const float* b, int64_t k, float* c,
               int64_t c_row, int64_t n) {
  const auto& use = kernel();
  const auto width = padded(n), tiles = (m + use.rows - 1) / use.rows;
  const auto* const table = use.tiles[width / use.lanes - 1];
  for (int64_t t = 0; t < tiles; ++t) {
    const auto first = m * t / tiles, rows = m * (t + 1) / tiles - first;
    float* const at = c + first * c_row;
    if (n == width) {
      table[rows - 1](a + first * a_row, a_row, a_k, b, k, at, c_row);
      continue;
    }
    float whole[kMaxRows * kMaxWidth] = {};  // a tile writes whole vectors
    for (int64_t r = 0; r < rows; ++r) std::copy_n(at + r * c_row, n, whole + r * width);
    table[rows - 1](a + first * a_row, a_row, a_k, b, k, whole, width);
    for (int64_t r = 0; r < rows; ++r) std::copy_n(whole + r * width, n, at + r * c_row);
  }
}

}  // namespace

int64_t panel_columns() { return kernel().lanes * kVectors; }

Panels::Panels(const float* values, int64_t k, int64_t n, int64_t k_apart, int64_t n_apart)
    : k_(k), n_(n), values_(std::make_unique_for_overwrite<float[]>(static_cast<size_t>(k * padded(n)))) {
  const auto width = panel_columns();
  at::parallel_for(0, (n + width - 1) / width, 4, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const auto columns = std::min(width, n - p * width), whole = padded(columns);
      const float* from = values + p * width * n_apart;
      float* to = values_.get() + p * width * k;
      for (int64_t i = 0; i < k; ++i, from += k_apart, to += whole) {
        for (int64_t j = 0; j < columns; ++j) to[j] = from[j * n_apart];
        std::fill(to + columns, to + whole, 0.0f);
      }
    }
  });
}

void add_product(const float* a, int64_t a_row, int64_t rows, const Panels& b, float* c, int64_t c_row) {
  const auto width = panel_columns(), depths = (b.k() + kDepth - 1) / kDepth;
  for (int64_t d = 0; d < depths; ++d) {
    const auto k = b.k() * d / depths, depth = b.k() * (d + 1) / depths - k;
    for (int64_t n = 0; n < b.n(); n += width) {
      const auto columns = std::min(width, b.n() - n);
      add_panel(a + k, a_row, 1, rows, b.panel(n) + k * padded(columns), depth, c + n, c_row, columns);
    }
  }
}

void add_transposed_product(const float* a, int64_t a_row, int64_t m, const float* b, int64_t b_row, int64_t n,
                            int64_t rows, float* c, int64_t c_row) {
  alignas(64) float panel[kDepth * kMaxWidth];
  const auto depths = (rows + kDepth - 1) / kDepth;
  for (int64_t d = 0; d < depths; ++d) {
    const auto first = rows * d / depths, depth = rows * (d + 1) / depths - first;
    for (int64_t p = 0; p < n; p += panel_columns()) {
      const auto columns = std::min(panel_columns(), n - p), width = padded(columns);
      for (int64_t r = 0; r < depth; ++r) {
        std::copy_n(b + (first + r) * b_row + p, columns, panel + r * width);
        std::fill_n(panel + r * width + columns, width - columns, 0.0f);
      }
      add_panel(a + first * a_row, 1, a_row, m, panel, depth, c + p, c_row, columns);
    }
  }
}

void add_rows(const float* a, int64_t rows, int64_t n, float* sums) {
  for (int64_t r = 0; r < rows; ++r, a += n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) sums[i] += a[i];
  }
}

}  // namespace melflow::models
