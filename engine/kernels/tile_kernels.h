#pragma once

#include <cstddef>
#include <span>

namespace melflow::engine {

/// The inner loops of a network that runs over tiles of time: rows are points in time, a panel holds the weights of
/// a few outputs side by side. One set for each instruction set, all from one template (tile_kernels_lanes.h); the
/// plain set is their oracle. A row's digits never depend on which rows share its tile, which is what makes streaming
/// equal offline synthesis bit for bit.
struct TileKernels {
  const char* name;
  int width;      ///< columns of a panel, an even number
  int row_block;  ///< rows computed together; tiles that are a multiple of it waste nothing
  int depth;      ///< products that multiply() adds up at a time: a panel of that depth stays in the first-level cache

  /// sums[r][c] += Σ_k rows[r][first + k]·panel[k][c] for 0 ≤ r < count, 0 ≤ k < depth, 0 ≤ c < width. The sum runs
  /// over k in order and is added to `sums` as a whole. `panel` and `sums` are aligned to 64 bytes.
  void (*multiply)(const float* const* rows, ptrdiff_t first, int count, const float* panel, int depth, float* sums);

  /// out[r·stride + c] = tanh(sums[r][c])·sigmoid(sums[r][width/2 + c]) for 0 ≤ c < width/2. Absolute error below 3e-7;
  /// NaN stays NaN.
  void (*gate)(const float* sums, int count, float* out, ptrdiff_t stride);

  /// Multiply-adds as fast as this instruction set does them, out of registers alone: what multiply() is measured
  /// against. A round is `peak_flops` floating-point operations.
  void (*peak)(long rounds);
  double peak_flops;
};

/// Scalar loops, sums in double, std::tanh and std::exp.
const TileKernels& plain_tile_kernels();

/// All that this machine can run, the fastest first; the plain set is not among them.
std::span<const TileKernels* const> runnable_tile_kernels();

/// The fastest of them.
inline const TileKernels& tile_kernels() { return *runnable_tile_kernels().front(); }

}  // namespace melflow::engine
