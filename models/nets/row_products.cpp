#include "models/nets/row_products.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "cpu/words.h"

namespace melflow::models {
namespace {

/// to [k, width] = a part's columns from `first` on, all of which it has.
void take_columns(const MatrixPart& part, int64_t first, int64_t width, float* to) {
  const float* const from = part.values + first * part.n_apart;
  int64_t k = 0;
  if (part.n_apart == 1) {
    for (; k < part.k; ++k) std::copy_n(from + k * part.k_apart, width, to + k * width);
  } else if (part.k_apart == 1 && width == 16) {
    k = part.k / 16 * 16;
    cpu::transpose_words(reinterpret_cast<const std::byte*>(from), part.n_apart, static_cast<int>(k),
                         reinterpret_cast<std::byte*>(to), width);
  }
  for (; k < part.k; ++k) {
    for (int64_t c = 0; c < width; ++c) to[k * width + c] = from[c * part.n_apart + k * part.k_apart];
  }
}

/// to [k, width] = the columns named, zeros for -1.
void take_columns(const MatrixPart& part, std::span<const int64_t> columns, float* to) {
  const auto width = std::ssize(columns);
  for (int64_t c = 0; c < width; ++c) {
    const auto n = columns[static_cast<size_t>(c)];
    const float* const from = part.values + std::max<int64_t>(n, 0) * part.n_apart;
    for (int64_t k = 0; k < part.k; ++k) to[k * width + c] = n < 0 ? 0 : from[k * part.k_apart];
  }
}

}  // namespace

cpu::PanelMatrix pack_matrix(cpu::Precision precision, std::span<const MatrixPart> parts, int64_t columns,
                             const float* bias, ColumnOrder order) {
  const auto& kernels = cpu::tile_kernels();
  const auto width = int64_t{kernels.width};
  const auto count = static_cast<int>(columns);
  const bool gates = order == ColumnOrder::gates;
  std::vector<int> segments;
  for (const auto& part : parts) segments.push_back(static_cast<int>(part.k));
  cpu::PanelMatrix out(kernels, precision, segments, gates ? kernels.gate_columns(count / 2) : count,
                       cpu::PanelMatrix::Filled::by_panel);
  std::vector<int64_t> columns_of(static_cast<size_t>(out.panels() * width), -1);  // of the panels'; -1: none
  for (int c = 0; c < count; ++c) columns_of[static_cast<size_t>(gates ? kernels.gate_column(c, count / 2) : c)] = c;
  at::parallel_for(0, out.panels(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> values(static_cast<size_t>(out.depth() * width));
    for (int64_t p = begin; p < end; ++p) {
      const auto columns_here =
          std::span(columns_of).subspan(static_cast<size_t>(p * width), static_cast<size_t>(width));
      const bool in_order = !gates && (p + 1) * width <= columns;
      float* to = values.data();
      for (const auto& part : parts) {
        in_order ? take_columns(part, p * width, width, to) : take_columns(part, columns_here, to);
        to += part.k * width;
      }
      for (int64_t c = 0; bias != nullptr && c < width; ++c) {
        const auto n = columns_here[static_cast<size_t>(c)];
        if (n >= 0) out.bias(static_cast<int>(p * width + c)) = bias[n];
      }
      out.pack_panel(static_cast<int>(p), values.data());
    }
  });
  return out;
}

PackedRows::PackedRows(cpu::Precision precision, int64_t most_rows, int64_t n)
    : precision_(precision),
      n_(n),
      apart_(cpu::row_bytes(precision, static_cast<int>(n))),
      packed_(static_cast<size_t>((precision == cpu::Precision::fp32 ? 1 : most_rows) * apart_ / 4)),
      rows_(static_cast<size_t>(most_rows)) {}

PackedRows::PackedRows(cpu::Precision precision, const float* a, int64_t rows, int64_t n)
    : PackedRows(precision, rows, n) {
  auto* const packed = reinterpret_cast<std::byte*>(packed_.data());
  at::parallel_for(0, rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) rows_[static_cast<size_t>(t)] = packed_row(a + t * n, packed + t * apart_);
  });
}

const std::byte* PackedRows::packed_row(const float* row, std::byte* to) const {
  if (precision_ == cpu::Precision::fp32) return reinterpret_cast<const std::byte*>(row);
  cpu::tile_kernels().product(precision_).pack_row(row, static_cast<int>(n_), to);
  return to;
}

void PackedRows::take(const float* a, int64_t time, int64_t begin, int64_t end) {
  auto* packed = reinterpret_cast<std::byte*>(packed_.data());
  const bool as_it_is = precision_ == cpu::Precision::fp32;  // then the one row that is kept stays zeros
  for (int64_t t = begin; t < end; ++t, packed += as_it_is ? 0 : apart_) {
    auto& row = rows_[static_cast<size_t>(t - begin)];
    row = packed;
    if (0 <= t && t < time) {
      row = packed_row(a + t * n_, packed);
    } else if (!as_it_is) {
      std::fill_n(packed, apart_, std::byte{});
    }
  }
}

}  // namespace melflow::models
