#pragma once

#include "engine/gpu/staging.h"

namespace melflow::gpu {

/// What follows a layer's gate: the next layer's input, x' = x + W·activation + b, and the layer's share of the
/// coupling's (shift, log s), change += S·activation, float32: `end` is linear, so each layer's skip goes through it at
/// once.
struct OutputArgs {
  Product product;          ///< its `side` is S
  const float* bias;        ///< [product.columns]
  Ring<const Bf16> before;  ///< x; [.., stride = product.columns]
  Ring<Bf16> after;         ///< x'
  Ring<float> change;       ///< [.., 8]
  bool first;               ///< the layer that sets `change` instead
};

template <class Tile, bool with_residual>
struct OutputKernel {
  using Args = OutputArgs;
  static constexpr int kThreads = Tile::kThreads;
  using Out = Staging<Tile::kRows, Tile::kColumns>;
  template <class Block>
  using Inner = TileProduct<Tile, Block, with_residual ? Columns::tile_and_side : Columns::side>;
  template <class Block>
  static constexpr int kSharedBytes = Inner<Block>::kSharedBytes;

  template <class Block>
  static MELFLOW_DEVICE void run(Block& block, const Args& a) {
    Inner<Block> product(block, a.product);
    static_assert(!with_residual || Out::kBytes <= Inner<Block>::kStages * Inner<Block>::kStageBytes);
    if (product.nothing_to_do()) return;
    typename Inner<Block>::PerThreadSums sums;
    product.run(sums);

    store_row_table<Tile>(block, a.product.rows, product.row0(), [&](const RowAt& at) {
      return Int4{{a.change.row(at.slot, at.time), a.before.row(at.slot, at.time), a.after.row(at.slot, at.time), 0}};
    });
    if constexpr (with_residual)
      block.warps([&](auto warp) { stage_sums<Tile, Out>(block, warp, Inner<Block>::kTableBytes, sums); });
    block.sync();
    if (product.with_side()) block.warps([&](auto warp) { add_change(block, warp, a, sums); });
    if constexpr (with_residual) {
      const int column0 = product.column0();
      Out::template each<kThreads>(block, Inner<Block>::kTableBytes, a.product.columns - column0,
                                   [&](int thread, int row, int column, const float(&sum)[8]) {
                                     const auto rows =
                                         block.template load<Int4>(thread, static_cast<uint32_t>(16 * row));
                                     if (rows.v[0] >= 0) add_residual(block, a, rows, column0 + column, sum);
                                   });
    }
  }

 private:
  template <class Block>
  static MELFLOW_DEVICE void add_residual(Block& block, const Args& a, const Int4& rows, int column,
                                          const float (&sum)[8]) {
    const auto x = block.template read<Word4>(reinterpret_cast<const Word4*>(a.before.at(rows.v[1]) + column));
    float v[8];
    MELFLOW_UNROLL
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = low_bf16(x.v[i]) + sum[2 * i];
      v[2 * i + 1] = high_bf16(x.v[i]) + sum[2 * i + 1];
    }
    add_eight(block, a.bias + column, v);
    block.write(reinterpret_cast<Word4*>(a.after.at(rows.v[2]) + column), packed(v));
  }

  template <class Block, class Warp, class Sums>
  static MELFLOW_DEVICE void add_change(Block& block, Warp warp, const Args& a, Sums& sums) {
    const int m0 = warp.index() / Tile::kWarpsN * Tile::kWarpRows + warp.index() % Tile::kWarpsN * Tile::kSide * 16;
    warp.lanes([&](int lane) {
      MELFLOW_UNROLL
      for (int i = 0; i < 2 * Tile::kSide; ++i) {
        const int row = m0 + 8 * i + lane / 4, thread = warp.thread(lane);
        const int32_t to = block.template load<Int4>(thread, static_cast<uint32_t>(16 * row)).v[0];
        if (to < 0) continue;
        auto* change = reinterpret_cast<Float2*>(a.change.at(to) + lane % 4 * 2);
        const auto& s = sums[thread].side[i / 2];
        Float2 sum{{s[i % 2 * 2], s[i % 2 * 2 + 1]}};
        if (!a.first) {
          const auto before = block.template read<Float2>(change);
          sum = {{sum.v[0] + before.v[0], sum.v[1] + before.v[1]}};
        }
        block.write(change, sum);
      }
    });
  }
};

}  // namespace melflow::gpu
