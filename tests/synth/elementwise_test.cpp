// The functions of a block voice that are approximated, beside the library's in double precision.
#include "engine/kernels/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace melflow::engine {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// 1,001 numbers from -limit to limit.
std::vector<float> from_to(double limit) {
  std::vector<float> out;
  for (int i = -500; i <= 500; ++i) out.push_back(static_cast<float>(limit * i / 500));
  return out;
}

TEST(Elementwise, FallingExponentialsAreThoseOfTheComplexNumber) {
  for (const double turns : {1e-3, 3.2, 40.0, 1e4}) {
    const auto im = from_to(turns);
    auto re = from_to(20.0);
    std::vector<std::complex<float>> out(im.size());
    falling_exponentials(re.data(), im.data(), 0.5f, out.data(), out.size());
    for (size_t k = 0; k < out.size(); ++k) {
      const auto exact = 0.5 * std::exp(-std::complex<double>(re[k], im[k]));
      EXPECT_LE(std::abs(std::complex<double>(out[k]) - exact), 3e-7 * std::abs(exact)) << re[k] << " " << im[k];
    }
  }
}

TEST(Elementwise, FallingExponentialsEndWhereFloatsDo) {
  const float re[] = {1000.0f, -1000.0f, kNaN, 0.0f}, im[] = {0.0f, 0.0f, 0.0f, kNaN};
  std::complex<float> out[4];
  falling_exponentials(re, im, 1.0f, out, 4);
  EXPECT_LE(out[0].real(), 1e-37f);
  EXPECT_GE(out[1].real(), 1e37f);
  EXPECT_TRUE(std::isnan(out[2].real()));
  EXPECT_TRUE(std::isnan(out[3].real()));
}

TEST(Elementwise, SumsAndMaximaOfSpectraAreThoseOfTheirBins) {
  for (const size_t count : {1u, 7u, 16u, 513u}) {
    std::vector<std::complex<float>> z;
    std::vector<float> unit, square(count);
    for (size_t k = 0; k < count; ++k) {
      const auto t = static_cast<float>(k);
      z.emplace_back(std::sin(t + 1), 3 * std::cos(2 * t));
      unit.push_back(1 + 0.5f * std::sin(7 * t));
    }
    double sum = 0, most = 0;
    for (size_t k = 0; k < count; ++k) {
      sum += std::norm(std::complex<double>(z[k]));
      most = std::max(most, std::norm(std::complex<double>(z[k])) / unit[k]);
    }
    squares(z.data(), square.data(), count);
    for (size_t k = 0; k < count; ++k) EXPECT_FLOAT_EQ(square[k], std::norm(z[k]));
    EXPECT_NEAR(energy(z.data(), count), sum, 1e-6 * sum);
    EXPECT_NEAR(largest_square_over(unit.data(), z.data(), count), most, 1e-6 * most);
  }
}

TEST(Elementwise, ExponentialsAreRelativeToTheMost) {
  auto x = from_to(40.0);
  const auto before = x;
  exponentials(40.0f, x.data(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(before[i] - 40.0f));
    EXPECT_NEAR(x[i], exact, 3e-7 * exact) << before[i];
  }
  float far[] = {-1e30f, -std::numeric_limits<float>::infinity(), kNaN};
  exponentials(0.0f, far, 3);
  EXPECT_LE(far[0], 1e-37f);
  EXPECT_LE(far[1], 1e-37f);
  EXPECT_TRUE(std::isnan(far[2]));
}

TEST(Elementwise, BoundedExponentialsAreThoseOfTheBoundedNumber) {
  for (const double most : {1e-3, 1.0, 9.0, 1e6}) {
    auto x = from_to(most);
    const auto before = x;
    bounded_exponentials(3.0f, x.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(3 * std::tanh(static_cast<double>(before[i]) / 3));
      EXPECT_NEAR(x[i], exact, 1e-6 * exact) << before[i];
    }
  }
  float none[] = {kNaN};
  bounded_exponentials(3.0f, none, 1);
  EXPECT_TRUE(std::isnan(none[0]));
}

TEST(Elementwise, SiluIsTheNumberTimesItsSigmoid) {
  auto x = from_to(100.0);
  const auto before = x;
  silu(x.data(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = before[i] / (1 + std::exp(-static_cast<double>(before[i])));
    EXPECT_NEAR(x[i], exact, 5e-7 * std::abs(exact) + 1e-30) << before[i];
  }
}

}  // namespace
}  // namespace melflow::engine
