#pragma once

#include <cstddef>
#include <memory>

#include "engine/kernels/tile_kernels.h"

namespace melflow::engine {

/// Floats that start at a multiple of 64 bytes, all zero at first.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(size_t count);
  float* data() { return values_.get(); }
  const float* data() const { return values_.get(); }
  size_t size() const { return count_; }

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float[], Free> values_;
  size_t count_ = 0;
};

/// A matrix [depth, columns] with a bias for each column, in panels of TileKernels::width columns; missing columns of
/// the last panel are zero.
class PanelMatrix {
 public:
  PanelMatrix() = default;
  PanelMatrix(const TileKernels& kernels, int depth, int columns);

  float& at(int k, int column) {
    return values_.data()[offset(column / width_, k) + static_cast<size_t>(column % width_)];
  }
  float& bias(int column) { return bias_.data()[column]; }
  int depth() const { return depth_; }
  int panels() const { return panels_; }
  size_t bytes() const { return 4 * (values_.size() + bias_.size()); }

  /// sums[r] = bias of the panel, for `count` rows.
  void start(int panel, int count, float* sums) const;
  /// sums[r] += Σ_{k<depth} rows[r][k]·matrix[first + k, panel], in runs of TileKernels::depth.
  void add(int panel, int first, int depth, const float* const* rows, int count, float* sums) const;

 private:
  size_t offset(int panel, int k) const {
    return (static_cast<size_t>(panel) * static_cast<size_t>(depth_) + static_cast<size_t>(k)) *
           static_cast<size_t>(width_);
  }

  const TileKernels* kernels_ = nullptr;
  int depth_ = 0, width_ = 1, panels_ = 0;
  AlignedFloats values_;  // [panels, depth, width]
  AlignedFloats bias_;    // [panels, width]
};

}  // namespace melflow::engine
