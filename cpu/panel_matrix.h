#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cpu/tile_kernels.h"

namespace melflow::cpu {

/// Floats that start at a multiple of 64 bytes, all zero at first.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(size_t count);
  AlignedFloats(const AlignedFloats& other);
  AlignedFloats(AlignedFloats&&) = default;
  AlignedFloats& operator=(AlignedFloats other) noexcept;
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
/// the last panel are zero. Its rows come in segments, one for each packed row that it will be multiplied with.
class PanelMatrix {
 public:
  PanelMatrix() = default;
  enum class Filled { by_number, by_panel };
  PanelMatrix(const TileKernels& kernels, Precision precision, std::vector<int> segments, int columns,
              Filled filled = Filled::by_number);

  /// Filled by number: rows are counted through all segments. Before pack(), which a matrix filled by panel has not.
  float& at(int row, int column) {
    return values_
        .data()[(static_cast<size_t>(column / width_) * static_cast<size_t>(depth_) + static_cast<size_t>(row)) *
                    static_cast<size_t>(width_) +
                static_cast<size_t>(column % width_)];
  }
  float& bias(int column) { return bias_.data()[column]; }
  /// Rounds to the precision; must come before add(). The weights must be finite.
  void pack();
  /// Filled by panel: sets one, from values [depth, width], zeros in columns that are missing. Of different panels by
  /// several threads at once.
  void pack_panel(int panel, const float* values);

  int depth() const { return depth_; }
  int panels() const { return panels_; }
  /// What shares of rows should be multiples of: those that are computed together.
  int row_block() const { return kernels_->product(precision_).row_block; }
  size_t bytes() const { return 4 * (values_.size() + bias_.size()); }

  /// sums[r] = bias of the panel, for `count` rows.
  void start(int panel, int count, float* sums) const;
  /// Some segments, and the packed rows for each of them: `apart` pointers after those for the one before.
  struct Segments {
    int first, count;
    const std::byte* const* rows;
    ptrdiff_t apart;
  };
  /// sums[r] += Σ rows[r] · the segments' rows of the panel, in runs of TileProduct::run words.
  void add(int panel, const Segments& segments, int count, float* sums) const;
  /// The same for a matrix of one segment.
  void add(int panel, const std::byte* const* rows, int count, float* sums) const {
    add(panel, {0, 1, rows, 0}, count, sums);
  }

 private:
  size_t run_floats(int words) const;
  void pack_run(const float* values, int depth, std::byte* packed) const;

  const TileKernels* kernels_ = nullptr;
  Precision precision_ = Precision::fp32;
  std::vector<int> segments_;    // their depths
  std::vector<size_t> offsets_;  // of a segment in its packed panel; one more for the panel's end
  int depth_ = 0, width_ = 1, panels_ = 0;
  AlignedFloats values_;  // [panels, depth, width]; packed: [panels, runs], each a run's words and what int8 adds
  AlignedFloats bias_;    // [panels, width]
};

}  // namespace melflow::cpu
