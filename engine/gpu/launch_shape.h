#pragma once

#include "engine/gpu/device.h"
#include "engine/gpu/row_kernels.h"
#include "engine/gpu/tile_product.h"

namespace melflow::gpu {

struct Grid {
  int x, y;
};

inline int blocks_for(int work, int each) { return (work + each - 1) / each; }

template <class Tile>
Grid grid_of(Tile, const Product& p) {
  const int columns = p.columns > 0 ? blocks_for(p.columns, Tile::kColumns) : 1;
  return {columns, blocks_for(p.rows.slots * p.rows.count, Tile::kRows)};
}
inline Grid grid_of(const CoupleArgs& a) { return {1, blocks_for(a.rows.slots * a.rows.count, CoupleKernel::kRows)}; }
inline Grid grid_of(const EnterArgs& a) {
  const int pairs = a.frames.slots * a.frames.count * (a.mel_high.stride / 2), groups = a.rows.slots * a.rows.count;
  return {blocks_for(pairs > groups ? pairs : groups, EnterKernel::kThreads), 1};
}

/// Calls run(a tile of the shape, for these tensor cores), or the widest that the device's shared memory holds.
/// automatic: the widest whose blocks fill the GPU.
template <class Run>
void with_tile(TileShape shape, const Device& device, const Product& p, Run&& run) {
  const bool warpgroups = device.tensor_cores() == TensorCores::warpgroups;
  const int multiprocessors = device.multiprocessors();
  const auto fits = [&](auto tile, auto warpgroup_tile) {
    const bool with_tile = p.columns > 0, with_side = p.side != nullptr;
    return (warpgroups ? warpgroup_tile.shared_bytes(with_tile, with_side) : tile.shared_bytes(with_tile, with_side)) <=
           device.shared_bytes();
  };
  const auto fills = [&](auto tile) {
    const Grid grid = grid_of(tile, p);
    return 4 * grid.x * grid.y >= 3 * multiprocessors;
  };
  if (shape == TileShape::automatic) {
    shape = fills(WideTile{}) ? TileShape::wide : fills(MediumTile{}) ? TileShape::medium : TileShape::narrow;
  }
  if (shape == TileShape::wide && !fits(WideTile{}, WideWarpgroupTile{})) shape = TileShape::medium;
  if (shape == TileShape::medium && !fits(MediumTile{}, MediumWarpgroupTile{})) shape = TileShape::narrow;
  const auto either = [&](auto tile, auto warpgroup_tile) { warpgroups ? run(warpgroup_tile) : run(tile); };
  switch (shape) {
    case TileShape::wide:
      return either(WideTile{}, WideWarpgroupTile{});
    case TileShape::medium:
      return either(MediumTile{}, MediumWarpgroupTile{});
    default:
      return either(NarrowTile{}, NarrowWarpgroupTile{});
  }
}

}  // namespace melflow::gpu
