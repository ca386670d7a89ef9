#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/gpu/portable.h"
#include "tests/gpu/emulated_memory.h"

namespace melflow::gpu {

/// A matrix in shared memory as wgmma's descriptor has it (PTX ISA, "Matrix descriptor"): K-major, 128-byte swizzle,
/// the only kind that is known here.
class DescribedMatrix {
 public:
  explicit DescribedMatrix(uint64_t descriptor)
      : start_(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
        eight_rows_(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4) {
    if (descriptor >> 62 != 1) fault("a matrix descriptor with another swizzle than that of 128 bytes");
    // Neither a base offset nor bits that mean nothing; a leading offset is not looked at with this swizzle.
    if ((descriptor & 0x3fffc000c000c000) != 0) fault("a matrix descriptor with other bits than are known");
  }
  /// Where numbers [8·half, 8·half + 8) of the sixteen of a row lie: bits 4 to 6 of the address are exchanged by its
  /// bits 7 to 9.
  uint32_t at(int row, int half) const {
    const auto r = static_cast<uint32_t>(row);
    const uint32_t address = start_ + r / 8 * eight_rows_ + r % 8 * 128 + static_cast<uint32_t>(16 * half);
    return address ^ (address >> 7 & 7) << 4;
  }

 private:
  uint32_t start_, eight_rows_;
};

/// What a warpgroup asked of its tensor core: groups of products, done in the order in which they were asked for.
class EmulatedProducts {
 public:
  /// sums of thread t [columns / 8][4] += a [64, 16] · b [columns, 16]ᵀ, when it is waited for.
  void begin() { begun_ = true; }
  void ask(SharedMemory& shared, std::vector<float*> sums, int columns, uint64_t a, uint64_t b) {
    if (!begun_) fault("products are asked for with no fence since the last group (wgmma.fence)");
    Product product{std::move(sums), columns, DescribedMatrix(a), DescribedMatrix(b)};
    product.each([&](const DescribedMatrix& of, int row, int half) { shared.begin_read_behind(of.at(row, half)); });
    open_.push_back(std::move(product));
  }
  void commit() {
    begun_ = false;
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  void wait(SharedMemory& shared, size_t left) {
    while (groups_.size() > left) {
      for (const auto& product : groups_.front()) product.add(shared);
      groups_.erase(groups_.begin());
    }
  }
  void finish() const {
    if (!open_.empty() || !groups_.empty()) fault("a block ends with products that nobody waited for");
  }

 private:
  static constexpr int kRows = 64;
  struct Product {
    std::vector<float*> sums;
    int columns;
    DescribedMatrix a, b;

    template <class Visit>
    void each(Visit&& visit) const {
      for (int half = 0; half < 2; ++half) {
        for (int row = 0; row < kRows; ++row) visit(a, row, half);
        for (int column = 0; column < columns; ++column) visit(b, column, half);
      }
    }
    struct Row {
      float values[16] = {};
      bool zero = true, finite = true;
    };
    static Row read(SharedMemory& shared, const DescribedMatrix& of, int row) {
      Row out;
      for (int half = 0; half < 2; ++half) {
        const auto words = shared.end_read_behind(of.at(row, half));
        for (int i = 0; i < 4; ++i) {
          out.values[8 * half + 2 * i] = low_bf16(words.v[i]);
          out.values[8 * half + 2 * i + 1] = high_bf16(words.v[i]);
          out.zero = out.zero && words.v[i] == 0;
        }
      }
      for (const float v : out.values) out.finite = out.finite && std::isfinite(v);
      return out;
    }
    /// Exact products and float32 sums; fragments as PTX lays them out.
    void add(SharedMemory& shared) const {
      std::vector<Row> rows;
      bool finite = true;
      for (int m = 0; m < kRows; ++m) {
        rows.push_back(read(shared, a, m));
        finite = finite && rows.back().finite;
      }
      for (int n = 0; n < columns; ++n) {
        const auto column = read(shared, b, n);
        if (column.zero && finite) continue;  // padding, which is most of a small model
        for (int m = 0; m < kRows; ++m) {
          float sum = 0;
          for (int k = 0; k < 16; ++k) sum += rows[static_cast<size_t>(m)].values[k] * column.values[k];
          const int thread = m / 16 * 32 + m % 8 * 4 + n % 8 / 2;
          sums[static_cast<size_t>(thread)][n / 8 * 4 + m % 16 / 8 * 2 + n % 2] += sum;
        }
      }
    }
  };

  bool begun_ = false;
  std::vector<Product> open_;
  std::vector<std::vector<Product>> groups_;
};

}  // namespace melflow::gpu
