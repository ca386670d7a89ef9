#pragma once

#include "engine/gpu/tile_product.h"

namespace melflow::gpu {

/// The results of a tile [rows, columns] in shared memory, float32: written as mma leaves them in registers, read row
/// by row in eights, so that device memory sees 16 bytes at a time. Eights change places within a row so that writers
/// meet in a bank no more than they must.
template <int rows, int columns>
struct Staging {
  static constexpr int kEights = columns / 8;
  static constexpr int kSwaps = kEights < 8 ? kEights : 8;
  static constexpr int kBytes = rows * columns * 4;
  static_assert(columns % 8 == 0 && (kEights & (kEights - 1)) == 0);

  static MELFLOW_DEVICE uint32_t at(uint32_t base, int row, int column) {
    return base + static_cast<uint32_t>((row * kEights + (column / 8 ^ (row & (kSwaps - 1)))) * 32 + column % 8 * 4);
  }

  /// visit(row, column of the first, eight floats) for every eight below `limit` columns, neighbours by neighbouring
  /// threads.
  template <int threads, class Block, class Visit>
  static MELFLOW_DEVICE void each(Block& block, uint32_t base, int limit, Visit&& visit) {
    block.threads([&](int thread) {
      for (int i = thread; i < rows * kEights; i += threads) {
        const int row = i / kEights, column = i % kEights * 8;
        if (column >= limit) continue;
        const auto low = block.template load<Float4>(thread, at(base, row, column));
        const auto high = block.template load<Float4>(thread, at(base, row, column + 4));
        const float v[8] = {low.v[0], low.v[1], low.v[2], low.v[3], high.v[0], high.v[1], high.v[2], high.v[3]};
        visit(thread, row, column, v);
      }
    });
  }
};

/// Where each row of a tile goes, into shared memory ahead of the results: find(where the row is), or -1 for a row that
/// is not there. Threads meet before it is read.
template <class Tile, class Block, class Rows, class Find>
MELFLOW_DEVICE void store_row_table(Block& block, const Rows& rows, int row0, Find&& find) {
  block.threads([&](int thread) {
    if (thread >= Tile::kRows) return;
    const RowAt at = rows.at(block, row0 + thread);
    block.store(thread, static_cast<uint32_t>(16 * thread), at.exists() ? find(at) : Int4{{-1, 0, 0, 0}});
  });
}

/// A warp's sums as they are.
template <class Tile, class Out, class Block, class Warp, class Sums>
MELFLOW_DEVICE void stage_sums(Block& block, Warp warp, uint32_t base, Sums& sums) {
  const int m0 = warp.index() / Tile::kWarpsN * Tile::kWarpRows, n0 = warp.index() % Tile::kWarpsN * Tile::kWarpColumns;
  warp.lanes([&](int lane) {
    const auto& s = sums[warp.thread(lane)].main;
    MELFLOW_UNROLL
    for (int i = 0; i < 2 * Tile::kM; ++i) {
      MELFLOW_UNROLL
      for (int j = 0; j < Tile::kN; ++j) {
        const int at = i % 2 * 2;
        block.store(warp.thread(lane), Out::at(base, m0 + 8 * i + lane / 4, n0 + 8 * j + lane % 4 * 2),
                    Float2{{s[i / 2][j][at], s[i / 2][j][at + 1]}});
      }
    }
  });
}

MELFLOW_DEVICE Word4 packed(const float (&v)[8]) {
  return {{pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7])}};
}

/// Eight columns' biases, at bias.
template <class Block>
MELFLOW_DEVICE void add_eight(Block& block, const float* bias, float (&v)[8]) {
  MELFLOW_UNROLL
  for (int half = 0; half < 2; ++half) {
    const auto b = block.template read<Float4>(reinterpret_cast<const Float4*>(bias) + half);
    MELFLOW_UNROLL
    for (int i = 0; i < 4; ++i) v[4 * half + i] += b.v[i];
  }
}

}  // namespace melflow::gpu
