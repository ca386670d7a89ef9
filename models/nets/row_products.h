#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cpu/panel_matrix.h"

namespace melflow::models {

// Training's side of the products in cpu/: matrices that change with every step, and rows as they lie in tensors.

/// How a matrix's columns lie in its panels: in order, or, of 2·n columns, each column below n with its partner n later
/// in the other half of the panel, as a gate wants them.
enum class ColumnOrder { plain, gates };

/// A segment of a matrix: its entry (k, n) is values[k·k_apart + n·n_apart].
struct MatrixPart {
  const float* values;
  int64_t k, k_apart, n_apart;
};

/// Packs a matrix of `columns` columns, on LibTorch's threads. bias [columns], or nullptr: zeros.
cpu::PanelMatrix pack_matrix(cpu::Precision precision, std::span<const MatrixPart> parts, int64_t columns,
                             const float* bias = nullptr, ColumnOrder order = ColumnOrder::plain);

/// Rows of a tensor as products read them: where they are in float32, else rounded and packed.
class PackedRows {
 public:
  PackedRows(cpu::Precision precision, int64_t most_rows, int64_t n);
  /// All rows of a [rows, n], on LibTorch's threads.
  PackedRows(cpu::Precision precision, const float* a, int64_t rows, int64_t n);
  /// Rows begin to end of a [time, n]; those before its first and behind its last are zeros.
  void take(const float* a, int64_t time, int64_t begin, int64_t end);
  /// From row begin + `row` on.
  const std::byte* const* from(int64_t row = 0) const { return rows_.data() + row; }

 private:
  /// Where products read the row: where it is, or packed at `to`.
  const std::byte* packed_row(const float* row, std::byte* to) const;

  cpu::Precision precision_;
  int64_t n_, apart_;
  cpu::AlignedFloats packed_;  // of float32 one row alone: zeros
  std::vector<const std::byte*> rows_;
};

/// b of a correlation as its products read it.
class CorrelatedWords;

/// b of a correlation, and what it becomes: of_weight [offsets, m, n], for offsets first, first + apart, ….
struct Correlated {
  const float* b;
  int64_t n;
  float* of_weight;
  int64_t offsets = 1, first = 0, apart = 0;
  std::shared_ptr<const CorrelatedWords> words = {};  ///< of words_of(): b was packed before
};

/// Packs b for several correlations with it, of the same items, rows and offsets.
std::shared_ptr<const CorrelatedWords> words_of(cpu::Precision precision, const Correlated& of, int64_t items,
                                                int64_t rows);

/// Rows that correlate() packs before it goes on; an item of more is packed as a whole.
inline constexpr int64_t kPackedTogether = 4096;

/// Gradients of weights: of_weight[o, i, j] += Σ a[t, i]·b[t + offset o, j] over the rows t of each item, with a
/// [items, rows, m] and b [items, rows, n], zero outside its item. On LibTorch's threads; sums are in an order that
/// does not depend on their number.
void correlate(cpu::Precision precision, const float* a, int64_t m, int64_t items, int64_t rows,
               std::span<const Correlated> with);

}  // namespace melflow::models
