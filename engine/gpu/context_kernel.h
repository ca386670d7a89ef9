#pragma once

#include "engine/gpu/staging.h"

namespace melflow::gpu {

/// The upsampling of mel frames to a row of context for each group: a transposed convolution, as one product whose
/// rows are frames and whose columns are the context of all the frame's groups, one after another.
struct ContextArgs {
  Product product;
  const float* bias;   ///< [product.columns]
  Ring<Bf16> context;  ///< [slots, groups, stride]; the ring holds whole frames
  int32_t groups;      ///< of a frame
};

template <class Tile>
struct ContextKernel {
  using Args = ContextArgs;
  static constexpr int kThreads = Tile::kThreads;
  using Out = Staging<Tile::kRows, Tile::kColumns>;
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
      return Int4{{a.context.row(at.slot, at.time * a.groups), 0, 0, 0}};
    });
    block.warps([&](auto warp) { stage_sums<Tile, Out>(block, warp, Inner<Block>::kTableBytes, sums); });
    block.sync();
    Out::template each<kThreads>(
        block, Inner<Block>::kTableBytes, a.product.columns - column0,
        [&](int thread, int row, int column, const float(&sum)[8]) {
          const int32_t to = block.template load<Int4>(thread, static_cast<uint32_t>(16 * row)).v[0];
          const int at = column0 + column;
          if (to < 0) return;
          float v[8];
          MELFLOW_UNROLL
          for (int i = 0; i < 8; ++i) v[i] = sum[i];
          add_eight(block, a.bias + at, v);
          const int stride = a.context.stride;
          block.write(reinterpret_cast<Word4*>(a.context.at(to + at / stride) + at % stride), packed(v));
        });
  }
};

}  // namespace melflow::gpu
