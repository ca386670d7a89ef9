#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include <ATen/Parallel.h>

#include "cpu/panel_matrix.h"
#include "models/nets/wavenet_layer.h"

namespace melflow::models {

// How the rows of a WaveNet's layer are shared out, forward and backward.

/// work(i, scratch) for every i below count, whichever thread is free, with scratch() of its own.
template <typename Scratch, typename Work>
void share_out(int64_t count, Scratch&& scratch, Work&& work) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    auto own = scratch();
    for (int64_t i = next++; i < count; i = next++) work(i, own);
  });
}

/// Rows of one item of the batch that pass through a layer together: what they need fits the second cache.
struct Chunk {
  int64_t item, begin, end;
  int64_t rows() const { return end - begin; }
};

/// Whole frames of context each.
inline std::vector<Chunk> chunks_of(const WaveNetSizes& s) {
  const auto rows = s.precision == cpu::Precision::fp32 ? cpu::kTileRows : cpu::tile_kernels().tile_rows;
  const auto count = std::min(s.frames, (s.time + rows - 1) / rows);
  std::vector<Chunk> out;
  for (int64_t item = 0; item < s.batch; ++item) {
    for (int64_t i = 0; i < count; ++i) {
      out.push_back({item, s.frames * i / count * s.repeat(), s.frames * (i + 1) / count * s.repeat()});
    }
  }
  return out;
}

inline int64_t longest(const std::vector<Chunk>& chunks) {
  int64_t rows = 0;
  for (const auto& c : chunks) rows = std::max(rows, c.rows());
  return rows;
}

/// Rows that a dilated convolution reads on each side of a chunk.
inline int64_t side_of(const LayerTensors& w) { return w.dilation * (w.kernel() - 1) / 2; }

inline int64_t panel_width() { return cpu::tile_kernels().width; }

/// A panel's sums for so many rows.
inline cpu::AlignedFloats sums_for(int64_t rows) {
  return cpu::AlignedFloats(static_cast<size_t>(rows * panel_width()));
}

}  // namespace melflow::models
