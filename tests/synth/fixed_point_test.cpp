// Weights in bytes, multiplied as such by VNNI: what PackedLinear makes of them there.
#include "engine/kernels/fixed_point.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "engine/kernels/linear.h"
#include "engine/noise.h"

namespace melflow::engine {
namespace {

class FixedPointTest : public ::testing::TestWithParam<cpu::Level> {
 protected:
  void SetUp() override {
    if (!cpu::has(GetParam())) GTEST_SKIP() << "this machine has no such instructions";
  }
};

std::vector<float> normals(size_t n, int64_t seed) {
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = normal_at(3, seed, static_cast<int64_t>(i));
  return out;
}

/// Weights of one row, -127 to 127 of its step, and what they make of x.
struct Row {
  std::vector<float> weights;
  double sum = 0;    ///< Σ w·x, exact but for double's last digits
  double bound = 0;  ///< Σ |w|, times the largest |x|
};
Row row_of(const std::vector<float>& x, int64_t seed, float step) {
  Row row;
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double whole = std::round(std::fmod(60 * normal_at(7, seed, static_cast<int64_t>(i)), 127));
    row.weights.push_back(static_cast<float>(whole) * step);
    row.sum += static_cast<double>(row.weights.back()) * x[i];
    row.bound += std::abs(row.weights.back());
    largest = std::max(largest, std::abs(static_cast<double>(x[i])));
  }
  row.bound *= largest;
  return row;
}

/// By the instructions of that level.
std::vector<float> product(cpu::Level level, const std::vector<Row>& rows, const std::vector<float>& x) {
  std::vector<float> weights, y(rows.size());
  for (const auto& row : rows) weights.insert(weights.end(), row.weights.begin(), row.weights.end());
  const auto inputs = static_cast<int>(x.size()), outputs = static_cast<int>(rows.size());
  PackedLinear(weights, {}, inputs, outputs, level)(x, y);
  return y;
}

std::vector<Row> rows_of(const std::vector<float>& x, int outputs) {
  std::vector<Row> rows;
  for (int o = 0; o < outputs; ++o) rows.push_back(row_of(x, o, std::exp2(static_cast<float>(o % 9 - 8))));
  return rows;
}

TEST_P(FixedPointTest, SumsAreNearerToTheExactOnesThanFloat32s) {
  for (const size_t inputs : {1u, 37u, 768u, 2560u, 4096u}) {
    const auto x = normals(inputs, 1);
    const auto rows = rows_of(x, 130);
    const auto fixed = product(GetParam(), rows, x), floats = product(cpu::Level::v3, rows, x);
    double of_fixed = 0, of_floats = 0;
    for (size_t o = 0; o < rows.size(); ++o) {
      // Half a step of each number, and the roundings of a few sums.
      EXPECT_LE(std::abs(fixed[o] - rows[o].sum), rows[o].bound * 0x1p-23 + std::abs(rows[o].sum) * 0x1p-22) << inputs;
      of_fixed += std::pow((fixed[o] - rows[o].sum) / rows[o].bound, 2);
      of_floats += std::pow((floats[o] - rows[o].sum) / rows[o].bound, 2);
    }
    if (inputs > 500) {
      EXPECT_LT(of_fixed, of_floats) << inputs;
    }
  }
}

TEST_P(FixedPointTest, TheLargestNumbersDoNotRunOver) {
  // As many as there may be, of one sign; all but a step of a power of two, which 24 bits hold only rounded down.
  for (const float largest : {std::nextafter(2.0f, 0.0f), 1.0f, 0x1p100f}) {
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> x(FixedPoint::kMost, sign * largest);
      const std::vector<Row> rows{{.weights = std::vector<float>(x.size(), 127 * 0x1p-24f)},
                                  {.weights = std::vector<float>(x.size(), -127 * 0x1p-24f)}};
      const auto y = product(GetParam(), rows, x);
      const double wanted = 127 * 0x1p-24 * FixedPoint::kMost * static_cast<double>(sign * largest);
      EXPECT_NEAR(y[0] / wanted, 1, 1e-6);
      EXPECT_NEAR(y[1] / wanted, -1, 1e-6);
    }
  }
}

TEST_P(FixedPointTest, MoreInputsThanItTakesGoTheWayOfFloats) {
  const auto x = normals(FixedPoint::kMost + 1, 2);
  const auto rows = rows_of(x, 3);
  EXPECT_EQ(product(GetParam(), rows, x), product(cpu::Level::v3, rows, x));
}

TEST_P(FixedPointTest, NothingAndAlmostNothingStayWhatTheyAre) {
  const auto rows = rows_of(normals(9, 1), 3);
  EXPECT_EQ(product(GetParam(), rows, std::vector<float>(9, 0.0f)), std::vector<float>(3, 0.0f));
  for (const float tiny : {std::numeric_limits<float>::denorm_min(), 1e-38f, 1e-30f}) {
    const std::vector<float> x(9, tiny);
    const auto y = product(GetParam(), rows, x);
    for (size_t o = 0; o < y.size(); ++o) {
      double sum = 0;
      for (const float w : rows[o].weights) sum += static_cast<double>(w) * tiny;
      EXPECT_NEAR(y[o], sum, std::abs(sum) * 1e-5 + 1e-34);
    }
  }
}

TEST_P(FixedPointTest, OneThatIsNoNumberIsNotLost) {
  for (const float none : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                           -std::numeric_limits<float>::infinity()}) {
    auto x = normals(20, 1);
    const auto rows = rows_of(x, 3);
    x[11] = none;
    for (const float y : product(GetParam(), rows, x)) EXPECT_FALSE(std::isfinite(y));
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, FixedPointTest, ::testing::Values(cpu::Level::v3_vnni, cpu::Level::v4_vnni),
                         [](const auto& of) { return of.param == cpu::Level::v3_vnni ? "v3_vnni" : "v4_vnni"; });

TEST(FixedPoint, HasTheSameBitsOnVectorsOfBothLengths) {
  if (!cpu::has(cpu::Level::v3_vnni) || !cpu::has(cpu::Level::v4_vnni)) GTEST_SKIP() << "this machine has not both";
  for (const size_t inputs : {1u, 37u, 768u, 4096u}) {
    const auto x = normals(inputs, 1);
    const auto rows = rows_of(x, 130);
    EXPECT_EQ(product(cpu::Level::v3_vnni, rows, x), product(cpu::Level::v4_vnni, rows, x));
  }
}

}  // namespace
}  // namespace melflow::engine
