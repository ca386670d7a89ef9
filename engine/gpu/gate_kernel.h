#pragma once

#include "engine/gpu/staging.h"

namespace melflow::gpu {

/// A layer's dilated convolution and its conditioning, and the gate: activation = tanh(u_a)·sigmoid(u_b).
struct GateArgs {
  /// Columns in groups of sixteen: eight channels' tanh columns, then the eight gates of the same channels, so that a
  /// thread holds both of a pair.
  Product product;
  const float* bias;      ///< [product.columns], in the same order
  Ring<Bf16> activation;  ///< [.., stride = product.columns / 2]
};

template <class Tile>
struct GateKernel {
  using Args = GateArgs;
  static constexpr int kThreads = Tile::kThreads;
  using Out = Staging<Tile::kRows, Tile::kColumns / 2>;
  template <class Block>
  using Inner = TileProduct<Tile, Block>;
  template <class Block>
  static constexpr int kSharedBytes = Inner<Block>::kSharedBytes;

  template <class Block>
  static MELFLOW_DEVICE void run(Block& block, const Args& a) {
    Inner<Block> product(block, a.product);
    static_assert(Out::kBytes <= Inner<Block>::kStages * Inner<Block>::kStageBytes);
    if (product.nothing_to_do()) return;
    typename Inner<Block>::PerThreadSums sums;
    product.run(sums);

    const int column0 = product.column0();
    store_row_table<Tile>(block, a.product.rows, product.row0(), [&](const RowAt& at) {
      return Int4{{a.activation.row(at.slot, at.time), 0, 0, 0}};
    });
    block.warps([&](auto warp) { gate(block, warp, a, column0, sums); });
    block.sync();
    Out::template each<kThreads>(
        block, Inner<Block>::kTableBytes, (a.product.columns - column0) / 2,
        [&](int thread, int row, int column, const float(&v)[8]) {
          const int32_t to = block.template load<Int4>(thread, static_cast<uint32_t>(16 * row)).v[0];
          if (to >= 0) block.write(reinterpret_cast<Word4*>(a.activation.at(to) + column0 / 2 + column), packed(v));
        });
  }

 private:
  template <class Block, class Warp, class Sums>
  static MELFLOW_DEVICE void gate(Block& block, Warp warp, const Args& a, int column0, Sums& sums) {
    const int m0 = warp.index() / Tile::kWarpsN * Tile::kWarpRows,
              n0 = warp.index() % Tile::kWarpsN * Tile::kWarpColumns;
    warp.lanes([&](int lane) {
      const auto& s = sums[warp.thread(lane)].main;
      MELFLOW_UNROLL
      for (int j = 0; j < Tile::kN; j += 2) {
        const int column = column0 + n0 + 8 * j + lane % 4 * 2;
        if (column >= a.product.columns) continue;
        const auto tanh_bias = block.template read<Float2>(reinterpret_cast<const Float2*>(a.bias + column));
        const auto gate_bias = block.template read<Float2>(reinterpret_cast<const Float2*>(a.bias + column + 8));
        MELFLOW_UNROLL
        for (int i = 0; i < 2 * Tile::kM; ++i) {
          const auto &u = s[i / 2][j], &g = s[i / 2][j + 1];
          const int at = i % 2 * 2;
          block.store(warp.thread(lane),
                      Out::at(Inner<Block>::kTableBytes, m0 + 8 * i + lane / 4, (n0 + 8 * j) / 2 + lane % 4 * 2),
                      Float2{{gated(u[at] + tanh_bias.v[0], g[at] + gate_bias.v[0]),
                              gated(u[at + 1] + tanh_bias.v[1], g[at + 1] + gate_bias.v[1])}});
        }
      }
    });
  }
};

}  // namespace melflow::gpu
