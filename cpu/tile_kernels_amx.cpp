// Products of whole tiles, 16 rows of 64 bytes each (AMX, Intel's Sapphire Rapids and later): rows and panels lie in
// memory as the tile registers want them already, since both are made of words.
#include <immintrin.h>

#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
namespace {

constexpr int kTile = 16;          // rows of a tile, and words in one of them
constexpr int kWidth = 4 * kTile;  // of a panel, as in AVX-512's set
constexpr int kBlock = 2 * kTile;  // rows and columns at a time: four tiles of sums, two of rows, two of the panel
constexpr int kBf16Run = 128;  // words; sums stay in tiles from run to run, so it says no more than what `copied` holds
static_assert(kWidth == kVectors * kTile);
constexpr int kLongestRun = kBf16Run > kInt8Run ? kBf16Run : kInt8Run;

/// What LDTILECFG reads: every register is a whole tile.
struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, unused[14] = {};
  uint16_t bytes_in_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

/// For as long as it lives the thread has tiles; without, they cost nothing when threads are switched.
struct Tiles {
  Tiles() {
    static constexpr TileShapes kShapes;
    _tile_loadconfig(&kShapes);
  }
  ~Tiles() { _tile_release(); }
};

/// Tiles are read by instructions of which the compiler does not know that they read memory.
inline void memory_is_read() { asm volatile("" ::: "memory"); }

// GCC 12 wants the numbers of registers written out. The sums of a block are in 0 to 3, its rows in 4 and 5, and the
// panel's columns in 6 and 7.
#define MELFLOW_ADD_TILES(sum, row, panel)       \
  if constexpr (kPrecision == Precision::bf16) { \
    _tile_dpbf16ps(sum, row, panel);             \
  } else {                                       \
    _tile_dpbusd(sum, row, panel);               \
  }

/// kBlock rows at most, as tiles are loaded from them: one after another in memory or, where they do not lie so,
/// copied.
struct RowTiles {
  const std::byte* at[2];
  ptrdiff_t stride[2];
  alignas(64) std::byte copied[kBlock][4 * kLongestRun];

  void take(const std::byte* const* rows, ptrdiff_t offset, int count, int words) {
    for (int t = 0; t < 2; ++t) {
      const int in_tile = count - kTile * t;
      if (in_tile >= kTile && evenly_spaced(rows + kTile * t)) {
        at[t] = rows[kTile * t] + offset;
        stride[t] = address(rows[kTile * t + 1]) - address(rows[kTile * t]);
      } else {
        at[t] = copied[kTile * t];
        stride[t] = sizeof copied[0];
        for (int r = kTile * t; r < kTile * (t + 1) && in_tile > 0; ++r) copy(rows, offset, r, count, words);
      }
    }
    memory_is_read();
  }

 private:
  static bool evenly_spaced(const std::byte* const* rows) {
    ptrdiff_t other = 0;
    const ptrdiff_t first = address(rows[0]), apart = address(rows[1]) - first;
    for (int r = 2; r < kTile; ++r) other |= address(rows[r]) - first - r * apart;
    return other == 0;
  }
  static ptrdiff_t address(const std::byte* row) { return reinterpret_cast<ptrdiff_t>(row); }  // rows may lie anywhere
  void copy(const std::byte* const* rows, ptrdiff_t offset, int r, int count, int words) {
    const int bytes = r < count ? 4 * words : 0;
    if (bytes > 0) __builtin_memcpy(copied[r], rows[r] + offset, static_cast<size_t>(bytes));
    __builtin_memset(copied[r] + bytes, 0, static_cast<size_t>((4 * words + 63) / 64 * 64 - bytes));
  }
};

/// A run of a panel; what is left behind its last whole tile is copied, with zeros behind it. (Rows need none: what
/// lies behind a row's numbers is finite.)
struct PanelTiles {
  const std::byte* run;
  int whole, steps;
  alignas(64) std::byte rest[kTile][4 * kWidth];

  void take(const std::byte* panel, int words) {
    run = panel;
    whole = words / kTile;
    steps = (words + kTile - 1) / kTile;
    if (whole == steps) return;
    const size_t bytes = static_cast<size_t>(words % kTile) * sizeof rest[0];
    __builtin_memcpy(rest[0], run + whole * sizeof rest, bytes);
    __builtin_memset(rest[0] + bytes, 0, sizeof rest - bytes);
    memory_is_read();
  }
  const std::byte* at(int step) const { return step < whole ? run + step * sizeof rest : rest[0]; }
};

/// The panel behind the last run, a share of it with each step: it takes two for each block of rows to go through a
/// tile of the panel.
FetchAhead next_panel(const TileRun& last, int count) {
  constexpr ptrdiff_t kWordBytes = 4 * kWidth;
  return {last.panel + kWordBytes * last.words, kWordBytes * kTile, 1, 2 * ((count + kBlock - 1) / kBlock)};
}

/// Registers 0 to 3, [2 row tiles, 2 column tiles], += rows·columns of the panel.
template <Precision kPrecision, int kRowTiles>
inline void add_tiles(const RowTiles& rows, const PanelTiles& panel, int column, FetchAhead& next) {
  for (int step = 0; step < panel.steps; ++step) {
    next.fetch_share();
    const std::byte* weights = panel.at(step) + 4 * column;
    _tile_loadd(4, rows.at[0] + 64 * step, rows.stride[0]);
    _tile_loadd(6, weights, 4 * kWidth);
    MELFLOW_ADD_TILES(0, 4, 6)
    _tile_loadd(7, weights + 4 * kTile, 4 * kWidth);
    MELFLOW_ADD_TILES(1, 4, 7)
    if constexpr (kRowTiles == 2) {
      _tile_loadd(5, rows.at[1] + 64 * step, rows.stride[1]);
      MELFLOW_ADD_TILES(2, 5, 6)
      MELFLOW_ADD_TILES(3, 5, 7)
    }
  }
  memory_is_read();  // before the next run's rows are copied there
}

/// The same for `count` rows: where they are one tile, the other is left out.
template <Precision kPrecision>
inline void add_block(int count, const RowTiles& rows, const PanelTiles& panel, int column, FetchAhead& next) {
  if (count > kTile) {
    add_tiles<kPrecision, 2>(rows, panel, column, next);
  } else {
    add_tiles<kPrecision, 1>(rows, panel, column, next);
  }
}

/// [kBlock, kBlock] numbers `stride` bytes apart, from and to registers 0 to 3.
inline void load_sums(const void* from, ptrdiff_t stride) {
  const auto* p = static_cast<const std::byte*>(from);
  _tile_loadd(0, p, stride);
  _tile_loadd(1, p + 64, stride);
  _tile_loadd(2, p + kTile * stride, stride);
  _tile_loadd(3, p + kTile * stride + 64, stride);
}
inline void store_sums(void* to, ptrdiff_t stride) {
  auto* p = static_cast<std::byte*>(to);
  _tile_stored(0, p, stride);
  _tile_stored(1, p + 64, stride);
  _tile_stored(2, p + kTile * stride, stride);
  _tile_stored(3, p + kTile * stride + 64, stride);
}

/// TileProduct::multiply for bfloat16: a block's sums stay in the tiles from the first run to the last.
void multiply_bf16(const TileRun* runs, int n, int count, float* sums) {
  if (n <= 0 || count <= 0) return;
  const Tiles tiles;
  auto next = next_panel(runs[n - 1], count);
  RowTiles block;
  PanelTiles panel;
  alignas(64) float some[kBlock][kWidth];
  for (int r = 0; r < count; r += kBlock) {
    const int in_block = count - r < kBlock ? count - r : kBlock;
    const auto bytes = static_cast<size_t>(in_block) * sizeof some[0];
    float *const own = sums + r * kWidth, *const out = in_block == kBlock ? own : some[0];
    if (out != own) __builtin_memcpy(out, own, bytes);
    for (int column = 0; column < kWidth; column += kBlock) {
      memory_is_read();
      load_sums(out + column, sizeof some[0]);
      for (const TileRun* run = runs; run < runs + n; ++run) {
        block.take(run->rows + r, 4 * run->first, in_block, run->words);
        panel.take(run->panel, run->words);
        add_block<Precision::bf16>(in_block, block, panel, column, next);
      }
      store_sums(out + column, sizeof some[0]);
    }
    if (out != own) __builtin_memcpy(own, out, bytes);
  }
}

/// TileProduct::multiply for int8: whole numbers in the tiles, which get their scales when a run is done.
void multiply_int8(const TileRun* runs, int n, int count, float* sums) {
  using W = Int8Words<kTile>;
  using L = Lanes<kTile>;
  if (n <= 0 || count <= 0) return;
  const Tiles tiles;
  auto next = next_panel(runs[n - 1], count);
  RowTiles block;
  PanelTiles panel;
  alignas(64) int32_t whole[kBlock][kBlock];
  for (const TileRun* run = runs; run < runs + n; ++run) {
    const std::byte* tail = run->panel + 4 * static_cast<ptrdiff_t>(run->words) * kWidth;
    panel.take(run->panel, run->words);
    for (int r = 0; r < count; r += kBlock) {
      const int in_block = count - r < kBlock ? count - r : kBlock;
      block.take(run->rows + r, row_header(Precision::int8) + 4 * run->first, in_block, run->words);
      for (int column = 0; column < kWidth; column += kBlock) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        add_block<Precision::int8>(in_block, block, panel, column, next);
        store_sums(whole, sizeof whole[0]);
        for (int i = 0; i < in_block; ++i) {
          for (int c = 0; c < kBlock; c += kTile) {
            float* out = sums + (r + i) * kWidth + column + c;
            const auto sum = *reinterpret_cast<const L::UnalignedIntegers*>(&whole[i][c]);
            L::store(out, L::load(out) + W::finished(sum, run->rows[r + i], tail, column + c));
          }
        }
      }
    }
  }
}

template <Precision kPrecision>
void peak(long rounds) {
  const Tiles tiles;
  for (long n = 0; n < rounds; ++n) {
    MELFLOW_ADD_TILES(0, 4, 6)
    MELFLOW_ADD_TILES(1, 4, 7)
    MELFLOW_ADD_TILES(2, 5, 6)
    MELFLOW_ADD_TILES(3, 5, 7)
  }
}

#undef MELFLOW_ADD_TILES

constexpr double kWordOperations = 2.0 * 4 * kTile * kTile * kTile;  // of a round, for each number in a word

}  // namespace

extern const TileProduct kAmxBf16Product{kBf16Run,           kBlock, pack_bf16, multiply_bf16, peak<Precision::bf16>,
                                         2 * kWordOperations};
extern const TileProduct kAmxInt8Product{
    kInt8Run, kBlock, pack_int8<kTile>, multiply_int8, peak<Precision::int8>, 4 * kWordOperations};

}  // namespace melflow::cpu
