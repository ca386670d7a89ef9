#include "cpu/tile_kernels.h"

#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "cpu/panel_matrix.h"

namespace melflow::cpu {
namespace {

/// [count, depth].
std::vector<float> random_rows(int count, int depth) {
  std::vector<float> values(static_cast<size_t>(count * depth));
  std::mt19937 random(7);
  for (float& v : values) v = std::normal_distribution<float>()(random);
  return values;
}

/// Packed rows, the last one first: as rows of a tile need not lie one after another, nor at equal distances.
struct Rows {
  enum Distances { equal, unequal };
  Rows(const TileKernels& kernels, Precision precision, std::span<const float> values, int depth,
       Distances distances = equal) {
    const auto bytes = static_cast<size_t>(row_bytes(precision, depth) + 8);
    packed.resize(values.size() / static_cast<size_t>(depth) * bytes);
    for (size_t at = packed.size(), from = 0; at > 0; from += static_cast<size_t>(depth)) {
      at -= bytes;
      auto* row = packed.data() + at + (distances == unequal && rows.size() % 3 == 0 ? 4 : 0);
      kernels.product(precision).pack_row(values.data() + from, depth, row);
      rows.push_back(row);
    }
  }
  std::vector<std::byte> packed;
  std::vector<const std::byte*> rows;
};

PanelMatrix random_matrix(const TileKernels& kernels, Precision precision, int depth, int columns) {
  PanelMatrix out(kernels, precision, {depth}, columns);
  std::mt19937 random(2);
  for (int k = 0; k < depth; ++k) {
    for (int c = 0; c < columns; ++c) out.at(k, c) = std::normal_distribution<float>()(random);
  }
  for (int c = 0; c < columns; ++c) out.bias(c) = std::normal_distribution<float>()(random);
  out.pack();
  return out;
}

/// rows · matrix + bias: [rows, columns].
std::vector<float> product(const TileKernels& kernels, Precision precision, const std::vector<const std::byte*>& rows,
                           int depth, int columns) {
  const auto matrix = random_matrix(kernels, precision, depth, columns);
  const int count = static_cast<int>(rows.size());
  AlignedFloats sums(static_cast<size_t>(count * kernels.width));
  std::vector<float> out(static_cast<size_t>(count * columns));
  for (int panel = 0; panel < matrix.panels(); ++panel) {
    matrix.start(panel, count, sums.data());
    matrix.add(panel, rows.data(), count, sums.data());
    for (int r = 0; r < count; ++r) {
      for (int c = panel * kernels.width; c < std::min(columns, (panel + 1) * kernels.width); ++c) {
        out[static_cast<size_t>(r * columns + c)] = sums.data()[r * kernels.width + c - panel * kernels.width];
      }
    }
  }
  return out;
}

using KernelsAndPrecision = std::tuple<const TileKernels*, Precision>;
class TileProductTest : public ::testing::TestWithParam<KernelsAndPrecision> {};

TEST_P(TileProductTest, MultiplyEqualsThePlainVersion) {
  const auto& [kernels, precision] = GetParam();
  for (const int count : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 31, 33, 96}) {
    for (const int depth : {1, 3, 40, 256, 1407}) {
      constexpr int kColumns = 70;
      const auto values = random_rows(count, depth);
      const auto& plain = plain_tile_kernels();
      const Rows rows(*kernels, precision, values, depth, depth == 40 ? Rows::unequal : Rows::equal);
      const Rows plain_rows(plain, precision, values, depth);
      const auto actual = product(*kernels, precision, rows.rows, depth, kColumns);
      const auto expected = product(plain, precision, plain_rows.rows, depth, kColumns);
      // Where a number lies half way between two steps of int8, a fused multiply-add may take the other one.
      const double step = precision == Precision::int8 ? 0.1 : 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(actual[i], expected[i], 3e-6 * std::sqrt(depth) + 1e-6 + step) << count << " rows, depth " << depth;
      }
    }
  }
}

/// Bytes of which the last is the last of a page, behind which nobody may read or write.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : pages_((bytes + kPage - 1) / kPage * kPage) {
    base_ = static_cast<std::byte*>(
        mmap(nullptr, pages_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages_, kPage, PROT_NONE);
    at_ = base_ + pages_ - bytes;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(base_, pages_ + kPage); }
  std::byte* data() const { return at_; }

 private:
  static constexpr size_t kPage = 4096;
  size_t pages_;
  std::byte *base_, *at_;
};

// Tile loads are no reads to a sanitizer.
TEST_P(TileProductTest, NothingIsReadOrWrittenBeyondTheEnds) {
  const auto& [kernels, precision] = GetParam();
  const auto& product = kernels->product(precision);
  const int width = kernels->width, scales = precision == Precision::int8 ? 2 : 0;
  for (const int words : {1, 15, 16, 17, 64}) {
    if (words > product.run) continue;
    const Guarded panel(static_cast<size_t>(4 * (words + scales) * width));
    for (const int count : {0, 1, 15, 16, 17, 31, 32, 33, 65}) {
      const int bytes = row_bytes(precision, words * numbers_in_word(precision));
      const Guarded rows(static_cast<size_t>(count * bytes)), sums(static_cast<size_t>(4 * count * width));
      std::vector<const std::byte*> at;
      for (int r = 0; r < count; ++r) at.push_back(rows.data() + r * bytes);
      const TileRun run{at.data(), 0, panel.data(), words};
      product.multiply(&run, 1, count, reinterpret_cast<float*>(sums.data()));
      for (int i = 0; i < 4 * count * width; ++i) ASSERT_EQ(sums.data()[i], std::byte{0});
    }
  }
}

// What makes streaming equal offline synthesis: not a bit of a row depends on the rows beside it.
TEST_P(TileProductTest, ARowIsTheSameAloneAndAmongOthers) {
  const auto& [kernels, precision] = GetParam();
  constexpr int kDepth = 300, kColumns = 64, kCount = 70;
  const auto values = random_rows(kCount, kDepth);
  for (const auto distances : {Rows::equal, Rows::unequal}) {
    const Rows rows(*kernels, precision, values, kDepth, distances);
    const auto together = product(*kernels, precision, rows.rows, kDepth, kColumns);
    for (const int count : {1, 2, 5, 8, 17, 32}) {
      for (int first = 0; first + count <= kCount; first += count) {
        const auto alone = product(*kernels, precision, {rows.rows.begin() + first, rows.rows.begin() + first + count},
                                   kDepth, kColumns);
        ASSERT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + first * kColumns)) << count << " rows";
      }
    }
  }
}

// A layer's gate takes several segments in one call; the runs of these are more than are handed over at a time.
TEST_P(TileProductTest, SegmentsAddUp) {
  const auto& [kernels, precision] = GetParam();
  constexpr int kCount = 40, kDepth = 1300;
  const auto values = random_rows(3 * kCount, kDepth);
  const auto sums_of = [&](const TileKernels& k) {
    PanelMatrix matrix(k, precision, {7, kDepth, kDepth, kDepth}, 8);
    std::mt19937 random(5);
    for (int d = 0; d < 7 + 3 * kDepth; ++d) {
      for (int c = 0; c < 8; ++c) matrix.at(d, c) = std::normal_distribution<float>()(random);
    }
    matrix.pack();
    const Rows rows(k, precision, values, kDepth);
    AlignedFloats sums(static_cast<size_t>(kCount * k.width));
    matrix.add(0, {1, 3, rows.rows.data(), kCount}, kCount, sums.data());
    std::vector<float> out;
    for (int r = 0; r < kCount; ++r) out.insert(out.end(), sums.data() + r * k.width, sums.data() + r * k.width + 8);
    return out;
  };
  const auto actual = sums_of(*kernels), expected = sums_of(plain_tile_kernels());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], precision == Precision::int8 ? 0.3 : 4e-4);
}

TEST_P(TileProductTest, RowsArePackedAsThePlainVersionPacksThem) {
  const auto& [kernels, precision] = GetParam();
  auto values = random_rows(1, 301);
  values[7] = 0;
  values[8] = 1 + 0x1p-8f;      // half way between two bfloat16: to the even one, below
  values[9] = 1 + 3 * 0x1p-8f;  // and above
  for (const int count : {1, 17, 64, 301}) {
    std::vector<std::byte> out(static_cast<size_t>(row_bytes(precision, count))), plain = out;
    kernels->product(precision).pack_row(values.data(), count, out.data());
    plain_tile_kernels().product(precision).pack_row(values.data(), count, plain.data());
    for (size_t i = 0; i < out.size(); ++i) {
      const int difference = static_cast<int>(out[i]) - static_cast<int>(plain[i]);
      ASSERT_LE(std::abs(difference), precision == Precision::int8 && i >= 64 ? 1 : 0) << count << ", byte " << i;
    }
  }
}

// A number that is none must be seen in the sound, whatever the precision.
TEST_P(TileProductTest, NotANumberStaysSo) {
  const auto& [kernels, precision] = GetParam();
  auto values = random_rows(3, 40);
  values[45] = std::nanf("");
  const Rows rows(*kernels, precision, values, 40);
  const auto sums = product(*kernels, precision, rows.rows, 40, 5);
  for (size_t c = 0; c < 5; ++c) {
    EXPECT_TRUE(std::isfinite(sums[c]));
    EXPECT_TRUE(std::isnan(sums[5 + c]));
    EXPECT_TRUE(std::isfinite(sums[10 + c]));
  }
}

// Bytes have exact sums, whether a set multiplies them as bytes, as pairs of 16 bits or as float32: one step of a sum
// would be 1e-4 here. (Scales are multiplied with and without FMA, which is less.)
TEST(TileProducts, OfBytesAreTheSameInEverySet) {
  constexpr int kDepth = 1407, kColumns = 70, kCount = 13;
  auto values = random_rows(kCount, kDepth);
  std::fill_n(values.begin(), kDepth, -1.0f);  // the largest sums that there are
  const Rows rows(plain_tile_kernels(), Precision::int8, values, kDepth);
  const auto expected = product(*runnable_tile_kernels().front(), Precision::int8, rows.rows, kDepth, kColumns);
  for (const auto* kernels : runnable_tile_kernels()) {
    const auto actual = product(*kernels, Precision::int8, rows.rows, kDepth, kColumns);
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 3e-5) << kernels->name;
  }
}

std::string without_spaces(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

std::string name_of_product(const ::testing::TestParamInfo<KernelsAndPrecision>& of) {
  const auto& [kernels, precision] = of.param;
  return without_spaces(kernels->name) + "_" + name_of(precision);
}

INSTANTIATE_TEST_SUITE_P(Runnable, TileProductTest,
                         ::testing::Combine(::testing::ValuesIn(runnable_tile_kernels().begin(),
                                                                runnable_tile_kernels().end()),
                                            ::testing::ValuesIn(kPrecisions)),
                         name_of_product);

class TileKernelsTest : public ::testing::TestWithParam<const TileKernels*> {};

TEST_P(TileKernelsTest, GateIsTanhTimesSigmoidToThreeTimesTenToTheMinusSeven) {
  const auto& kernels = *GetParam();
  const int half = kernels.width / 2;
  AlignedFloats sums(static_cast<size_t>(kernels.width));
  std::vector<float> out(static_cast<size_t>(half));
  const auto gate = [&](float a, float b) {
    std::fill_n(sums.data(), half, a);
    std::fill_n(sums.data() + half, half, b);
    kernels.gate(sums.data(), 1, out.data(), half);
    EXPECT_TRUE(std::isnan(out[0]) || std::count(out.begin(), out.end(), out[0]) == half);
    return out[0];
  };
  double worst = 0;
  for (double a = -12; a < 12; a += 0.0371) {
    for (double b = -20; b < 20; b += 0.173) {
      const auto fa = static_cast<float>(a), fb = static_cast<float>(b);
      const double expected = std::tanh(static_cast<double>(fa)) / (1 + std::exp(-static_cast<double>(fb)));
      worst = std::max(worst, std::abs(expected - gate(fa, fb)));
    }
  }
  EXPECT_LT(worst, 3e-7);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_NEAR(gate(kInfinity, kInfinity), 1, 3e-7);
  EXPECT_NEAR(gate(-kInfinity, kInfinity), -1, 3e-7);
  EXPECT_NEAR(gate(1e30f, -1e30f), 0, 3e-7);
  EXPECT_TRUE(std::isnan(gate(std::nanf(""), 1)));
  EXPECT_TRUE(std::isnan(gate(1, std::nanf(""))));
}

INSTANTIATE_TEST_SUITE_P(Runnable, TileKernelsTest,
                         ::testing::ValuesIn(runnable_tile_kernels().begin(), runnable_tile_kernels().end()),
                         [](const auto& of) { return without_spaces(of.param->name); });

}  // namespace
}  // namespace melflow::cpu
