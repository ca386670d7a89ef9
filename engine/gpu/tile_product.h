#pragma once

#include "engine/gpu/rows.h"

namespace melflow::gpu {

/// A block's share of a matrix product, and how its warps share that: each warp takes
/// (rows / warps_m) x (columns / warps_n) in mma.m16n8k16 of bfloat16, with float32 sums in registers.
template <int rows, int columns, int warps_m, int warps_n, int stages = 3>
struct Tile {
  static constexpr bool kWarpgroups = false;
  static constexpr int kRows = rows, kColumns = columns, kWarpsM = warps_m, kWarpsN = warps_n;
  static constexpr int kStages = stages;     ///< of the copies in flight
  static constexpr int kAhead = stages - 1;  ///< steps whose copies are in flight while one is multiplied
  static constexpr int kThreads = 32 * warps_m * warps_n;
  static constexpr int kWarpRows = rows / warps_m, kWarpColumns = columns / warps_n;
  static constexpr int kM = kWarpRows / 16, kN = kWarpColumns / 8;  ///< mma tiles of a warp
  static constexpr int kSide = kM / warps_n;  ///< mma tiles of a warp in the 8 columns at the side (Product::side)
  static_assert(kM % warps_n == 0 && kN % 2 == 0);

  /// Of shared memory, for the columns of a tile, the eight at the side, or both: in front one Int4 a row, then stages.
  static constexpr int shared_bytes(bool with_tile, bool with_side) {
    return rows * 16 + stages * stage_bytes(with_tile, with_side);
  }
  static constexpr int stage_bytes(bool with_tile, bool with_side) {
    return (rows + (with_tile ? columns : 0) + (with_side ? 8 : 0)) * 2 * kDepth;
  }
  static constexpr int kDepth = 64;  ///< of one step: rows of 128 bytes in shared memory
};
using NarrowTile = Tile<64, 64, 2, 2>;    ///< many small blocks: a chunk of one stream fills the GPU
using MediumTile = Tile<128, 128, 2, 2>;  ///< two blocks a multiprocessor
using WideTile = Tile<128, 256, 2, 4>;    ///< least traffic for each multiplication
enum class TileShape { automatic, narrow, medium, wide };

/// A tile of which four warps together take 64 rows and all columns, straight from shared memory: Hopper's wgmma, whose
/// sums lie as those of mma do, so that what follows is the same for both. One step's products are running while the
/// next's are asked for, which costs one more stage.
template <int rows, int columns, int stages>
struct WarpgroupTile : Tile<rows, columns, rows / 16, 1, stages> {
  static constexpr bool kWarpgroups = true;
  static constexpr int kAhead = stages - 2;
  static_assert(rows % 64 == 0);
};
using NarrowWarpgroupTile = WarpgroupTile<64, 64, 5>;  ///< its steps are short, and two blocks still fit
using MediumWarpgroupTile = WarpgroupTile<128, 128, 3>;
using WideWarpgroupTile = WarpgroupTile<128, 256, 4>;

/// One run of the depth: a row of these channels at time + shift; zero where no such row exists.
struct Source {
  Ring<const Bf16> rows;
  int32_t channels;  ///< a multiple of 8; up to `steps`·kDepth: zero
  int32_t shift, steps;
};

/// out[row, column] = Σ_source Σ_channel source[row + shift, channel] · weights[column, depth]: an implicit GEMM, in
/// which a dilated convolution is its taps as shifted sources.
struct Product {
  static constexpr int kMaxSources = 8;
  static constexpr int kDepth = NarrowTile::kDepth;  ///< of one step, the same in all tiles
  Rows rows;
  Source sources[kMaxSources];
  int32_t steps;        ///< of all sources
  const Bf16* weights;  ///< [columns, steps·kDepth]
  int32_t columns;
  const Bf16* side;  ///< [8, steps·kDepth]: eight more columns, computed by the blocks of the first; else null
};

/// wgmma's descriptor of a matrix in shared memory whose rows are 128 bytes with exchanged chunks (chunk_at below is
/// PTX's 128-byte swizzle where the first row lies at a multiple of 1024), eight rows 1024 bytes behind the eight
/// before. Sixteen numbers further in depth: address + 32.
MELFLOW_DEVICE uint64_t swizzled_matrix(uint32_t address) {
  constexpr uint64_t kEightRows = 1024 >> 4, kSwizzle128 = 1;
  return (address & 0x3ffffu) >> 4 | uint64_t{1} << 16 | kEightRows << 32 | kSwizzle128 << 62;
}

/// What a block computes: a tile of the weights' columns, the eight columns at the side, or both.
enum class Columns { tile, tile_and_side, side };

/// The inner part of every matrix kernel: copies in flight (cp.async) several steps ahead, then ldmatrix and mma, or
/// wgmma.
template <class Tile, class Block, Columns columns = Columns::tile>
class TileProduct {
  static constexpr bool kWithTile = columns != Columns::side, kWithSide = columns != Columns::tile;

 public:
  static constexpr int kStages = Tile::kStages, kAhead = Tile::kAhead;
  static constexpr int kRowBytes = 2 * Product::kDepth;
  static constexpr int kWeightRows = kWithTile ? Tile::kColumns : 0, kSideRows = kWithSide ? 8 : 0;
  static constexpr int kStageBytes = Tile::stage_bytes(kWithTile, kWithSide);
  static constexpr int kTableBytes = Tile::kRows * 16;
  /// In front: a table for the epilogue. Then the stages, later the staged results.
  static constexpr int kSharedBytes = Tile::shared_bytes(kWithTile, kWithSide);
  static_assert(kTableBytes % 1024 == 0 && kStageBytes % 1024 == 0 && kRowBytes == 128);  // swizzled_matrix

  struct Sums {
    float main[kWithTile ? Tile::kM : 1][kWithTile ? Tile::kN : 1][4];
    float side[kWithSide ? Tile::kSide : 1][4];
  };
  using PerThreadSums = typename Block::template PerThread<Sums>;

  MELFLOW_DEVICE TileProduct(Block& block, const Product& p)
      : block_(block),
        p_(p),
        row0_(block.y() * Tile::kRows),
        column0_(block.x() * Tile::kColumns),
        with_side_(kWithSide && block.x() == 0) {}

  MELFLOW_DEVICE bool nothing_to_do() { return p_.rows.none(block_, row0_, Tile::kRows); }

  MELFLOW_DEVICE void run(PerThreadSums& sums) {
    block_.threads([&](int thread) {
      sums[thread] = Sums{};
      for (int i = 0; i < kLoads; ++i) copies_[thread].row[i] = p_.rows.at(block_, row0_ + row_of(thread, i));
    });
    for (int step = 0; step < kAhead; ++step) {
      if (step < p_.steps) fetch(step);
      block_.commit();
    }
    for (int step = 0; step < p_.steps; ++step) {
      block_.template wait<kAhead - 1>();
      if constexpr (Tile::kWarpgroups) {
        block_.publish();
        block_.template wait_products<1>();
      }
      block_.sync();  // the step's data is here for all, and all are done with the stage that is filled next
      if constexpr (Tile::kWarpgroups) {
        block_.warpgroups([&](auto group) { start(group, stage_at(step), sums); });
      }
      if (step + kAhead < p_.steps) fetch(step + kAhead);
      block_.commit();
      if constexpr (!Tile::kWarpgroups) {
        block_.warps([&](auto warp) { multiply(warp, stage_at(step), sums); });
      }
    }
    block_.template wait<0>();
    if constexpr (Tile::kWarpgroups) {
      block_.template wait_products<0>();
      block_.threads([&](int thread) {
        block_.pin(sums[thread].main[0]);
        block_.pin(sums[thread].side);
      });
    }
    block_.sync();  // the stages are free
  }

  MELFLOW_DEVICE int row0() const { return row0_; }
  MELFLOW_DEVICE int column0() const { return column0_; }
  MELFLOW_DEVICE bool with_side() const { return with_side_; }

 private:
  static constexpr int kChunks = Product::kDepth / 8;  // of 16 bytes in a row
  static constexpr int kRowsAtOnce = Tile::kThreads / kChunks;
  static constexpr int kLoads = Tile::kRows / kRowsAtOnce;

  /// What a thread copies: chunk thread % kChunks of these rows.
  struct Copies {
    RowAt row[kLoads];
    const Bf16* from[kLoads];  // of the present source; null: zeros
  };

  static MELFLOW_DEVICE int row_of(int thread, int i) { return thread / kChunks + i * kRowsAtOnce; }
  static MELFLOW_DEVICE uint32_t stage_at(int step) {
    return static_cast<uint32_t>(kTableBytes + step % kStages * kStageBytes);
  }
  /// Where chunk c of row r lies: chunks change places so that neither copies nor ldmatrix meet in a bank.
  static MELFLOW_DEVICE uint32_t chunk_at(uint32_t base, int r, int c) {
    return base + static_cast<uint32_t>(r * kRowBytes + ((c ^ (r & 7)) << 4));
  }

  MELFLOW_DEVICE void fetch(int step) {
    const bool begins = next_in_source_ == 0;
    const Source& source = p_.sources[source_];
    const int channel0 = next_in_source_ * Product::kDepth;
    const uint32_t stage = stage_at(step);
    block_.threads([&](int thread) {
      auto& mine = copies_[thread];
      const int chunk = thread % kChunks, channel = channel0 + 8 * chunk;
      MELFLOW_UNROLL
      for (int i = 0; i < kLoads; ++i) {
        if (begins) {
          const RowAt& at = mine.row[i];
          mine.from[i] =
              at.exists(source.shift) ? source.rows.at(source.rows.row(at.slot, at.time + source.shift)) : nullptr;
        }
        const bool there = mine.from[i] != nullptr && channel < source.channels;
        block_.copy16(thread, chunk_at(stage, row_of(thread, i), chunk),
                      there ? mine.from[i] + channel : source.rows.values, there);
      }
      fetch_weights(thread, step, stage + Tile::kRows * kRowBytes);
    });
    if (++next_in_source_ == source.steps) {
      next_in_source_ = 0;
      ++source_;
    }
  }

  MELFLOW_DEVICE void fetch_weights(int thread, int step, uint32_t to) {
    const int chunk = thread % kChunks;
    const int64_t depth = static_cast<int64_t>(p_.steps) * Product::kDepth;
    const int at = step * Product::kDepth + 8 * chunk;
    if constexpr (kWithTile) {
      MELFLOW_UNROLL
      for (int i = 0; i < Tile::kColumns / kRowsAtOnce; ++i) {
        const int column = column0_ + row_of(thread, i);
        const bool there = column < p_.columns;
        block_.copy16(thread, chunk_at(to, row_of(thread, i), chunk), p_.weights + (there ? column * depth + at : 0),
                      there);
      }
    }
    if constexpr (kWithSide) {
      if (!with_side_ || thread >= 8 * kChunks) return;
      const int column = thread / kChunks;
      block_.copy16(thread, chunk_at(to + kWeightRows * kRowBytes, column, chunk), p_.side + column * depth + at, true);
    }
  }

  /// Asks for a stage's products, which go on by themselves until they are waited for.
  template <class Group>
  MELFLOW_DEVICE void start(Group group, uint32_t stage, PerThreadSums& sums) {
    const uint32_t rows = stage + static_cast<uint32_t>(64 * group.index() * kRowBytes),
                   weights = stage + Tile::kRows * kRowBytes, side = weights + kWeightRows * kRowBytes;
    const auto tile = [&] {
      if constexpr (kWithTile) {
        MELFLOW_UNROLL
        for (uint32_t k = 0; k < Product::kDepth / 16; ++k) {
          group.template multiply_add<Tile::kN>(
              [&sums](int thread) -> auto& { return sums[thread].main[0]; }, group.matrix(rows + 32 * k),
              group.matrix(weights + 32 * k));
        }
      }
    };
    if constexpr (kWithSide) {
      // No branch between products and their commit: the compiler would wait for them there.
      if (with_side_) {
        group.begin();
        tile();
        MELFLOW_UNROLL
        for (uint32_t k = 0; k < Product::kDepth / 16; ++k) {
          group.template multiply_add<1>(
              [&sums](int thread) -> auto& { return sums[thread].side; }, group.matrix(rows + 32 * k),
              group.matrix(side + 32 * k));
        }
        group.commit();
        return;
      }
    }
    group.begin();
    tile();
    group.commit();
  }

  template <class Warp>
  MELFLOW_DEVICE void multiply(Warp warp, uint32_t stage, PerThreadSums& sums) {
    const int m0 = warp.index() / Tile::kWarpsN * Tile::kWarpRows, n = warp.index() % Tile::kWarpsN;
    const uint32_t weights = stage + Tile::kRows * kRowBytes, side = weights + kWeightRows * kRowBytes;
    typename Warp::template Each<Word4> a[Tile::kM], b[Tile::kN / 2], s;
    MELFLOW_UNROLL
    for (int k = 0; k < Product::kDepth / 16; ++k) {
      MELFLOW_UNROLL
      for (int i = 0; i < Tile::kM; ++i) {
        warp.load_matrices(a[i], [&](int lane) { return chunk_at(stage, m0 + 16 * i + lane % 16, 2 * k + lane / 16); });
      }
      if constexpr (kWithTile) {
        MELFLOW_UNROLL
        for (int j = 0; j < Tile::kN / 2; ++j) {
          warp.load_matrices(b[j], [&](int lane) {
            return chunk_at(weights, n * Tile::kWarpColumns + 16 * j + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2);
          });
        }
        MELFLOW_UNROLL
        for (int i = 0; i < Tile::kM; ++i) {
          MELFLOW_UNROLL
          for (int j = 0; j < Tile::kN; ++j) {
            warp.multiply_add([&](int lane) { return sums[warp.thread(lane)].main[i][j]; }, a[i], b[j / 2], j % 2);
          }
        }
      }
      if constexpr (kWithSide) {
        if (!with_side_) continue;
        if (k % 2 == 0) {  // 32 deep at once
          warp.load_matrices(s, [&](int lane) { return chunk_at(side, lane % 8, 2 * k + lane / 8); });
        }
        MELFLOW_UNROLL
        for (int i = 0; i < Tile::kM; ++i) {  // the warps side by side share the rows
          if (i / Tile::kSide != n) continue;
          warp.multiply_add([&](int lane) { return sums[warp.thread(lane)].side[i % Tile::kSide]; }, a[i], s, k % 2);
        }
      }
    }
  }

  Block& block_;
  const Product& p_;
  int row0_, column0_;
  bool with_side_;
  int source_ = 0, next_in_source_ = 0;  // of the next fetch
  typename Block::template PerThread<Copies> copies_;
};

}  // namespace melflow::gpu
