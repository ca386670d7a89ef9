#include "models/flow/spline.h"

#include <limits>

#include <gtest/gtest.h>

#include "models/flow/spline_loops.h"

namespace melflow::models {
namespace {

class SplineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::manual_seed(5);
    torch::set_num_threads(1);
  }
  static double far(const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<double>(); }
};

/// nflows 0.14's unconstrained_rational_quadratic_spline, in double, with our shift of the slopes added to what it is
/// told.
TEST_F(SplineTest, IsTheSplineOfThePapersAuthors) {
  const int64_t bins = 4, outputs = 3 * bins - 1;
  auto raw = torch::zeros({5, outputs}, torch::kFloat64);
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t k = 0; k < outputs; ++k) raw[i][k] = static_cast<double>((i * 7 + k * 5) % 11 - 5) / 4;
  }
  const auto x = torch::tensor({-2.5, -0.7, 0.1, 1.9, 3.5}, torch::kFloat64).unsqueeze(1);
  const Spline spline({.bins = bins, .bound = 3});
  const auto z = spline.forward(x, raw), back = spline.inverse(x, raw);
  const auto column = [](const std::vector<double>& of) { return torch::tensor(of, torch::kFloat64).unsqueeze(1); };
  EXPECT_LT(
      far(z.value, column({-0.055217504422945485, -2.429143605679444, 0.15280179454223264, 1.813716165400044, 3.5})),
      1e-13);
  EXPECT_LT(
      far(z.log_slope, column({-0.22225139583967257, -1.43030196884541, -0.25994382781600217, 0.21111227507984337, 0})),
      1e-13);
  EXPECT_LT(
      far(back.value, column({-2.9051007082051536, 0.11276008484476457, 0.03097675578884207, 1.9701610764823758, 3.5})),
      1e-13);
  EXPECT_LT(far(back.log_slope,
                column({-2.368535666417849, -1.8781545881269543, 0.27528675124234003, -0.20188341949421112, 0})),
            1e-13);
}

TEST_F(SplineTest, LoopsAndTheirGradientsEqualThePlainVersion) {
  for (const int64_t bins : {2, 8, 32}) {
    const Spline spline({.bins = bins, .bound = 3});
    for (const auto& sizes :
         {std::vector<int64_t>{1, 1}, {7, 5}, {300, 2}, {3, 2, 50}}) {  // below, at and across the lanes
      for (const bool inverse : {false, true}) {
        auto raw_sizes = sizes;
        raw_sizes[1] *= spline.outputs();
        const auto value = (torch::randn(sizes, torch::kFloat64) * 2).set_requires_grad(true);
        const auto raw = (torch::randn(raw_sizes, torch::kFloat64) * 2).set_requires_grad(true);
        const auto weights = torch::randn(sizes, torch::kFloat64), log_weights = torch::randn(sizes, torch::kFloat64);
        const auto gradients = [&](const Transform::Moved& moved) {
          return torch::autograd::grad({(moved.value * weights + moved.log_slope * log_weights).sum()}, {value, raw});
        };
        const auto loops = inverse ? spline.inverse(value, raw) : spline.forward(value, raw);
        const auto plain = spline.plain(value, raw, inverse);
        EXPECT_LT(far(loops.value, plain.value), 1e-11);
        EXPECT_LT(far(loops.log_slope, plain.log_slope), 1e-10);
        const auto of_loops = gradients(loops), of_plain = gradients(plain);
        EXPECT_LT(far(of_loops[0] / (1 + of_plain[0].abs()), of_plain[0] / (1 + of_plain[0].abs())), 1e-8);
        EXPECT_LT(far(of_loops[1] / (1 + of_plain[1].abs()), of_plain[1] / (1 + of_plain[1].abs())), 1e-8);
      }
    }
  }
}

TEST_F(SplineTest, SinglePrecisionIsNearDouble) {
  const Spline spline({.bins = 8, .bound = 3});
  const auto x = torch::randn({1000, 3}) * 1.5, raw = torch::randn({1000, 3 * spline.outputs()});
  const auto xd = x.to(torch::kFloat64), rawd = raw.to(torch::kFloat64);
  for (const bool inverse : {false, true}) {
    const auto single = inverse ? spline.inverse(x, raw) : spline.forward(x, raw);
    const auto exact = spline.plain(xd, rawd, inverse);
    EXPECT_LT(far(single.value, exact.value), 2e-5);
    EXPECT_LT(far(single.log_slope, exact.log_slope), 2e-4);
  }
}

/// What a training goes by.
TEST_F(SplineTest, SinglePrecisionsGradientsAreNearDoubles) {
  const Spline spline({.bins = 8, .bound = 3});
  for (const bool inverse : {false, true}) {
    const auto x = (torch::randn({1000, 3}) * 1.5).set_requires_grad(true);
    const auto raw = torch::randn({1000, 3 * spline.outputs()}).set_requires_grad(true);
    const auto gradients = [&](const torch::Tensor& value, const torch::Tensor& said, bool plainly) {
      const auto moved = plainly   ? spline.plain(value, said, inverse)
                         : inverse ? spline.inverse(value, said)
                                   : spline.forward(value, said);
      return torch::autograd::grad({moved.value.sum() + moved.log_slope.sum()}, {value, said});
    };
    const auto single = gradients(x, raw, false);
    const auto exact = gradients(x.detach().to(torch::kFloat64).set_requires_grad(true),
                                 raw.detach().to(torch::kFloat64).set_requires_grad(true), true);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_LT(far(single[i] / (1 + exact[i].abs()), exact[i] / (1 + exact[i].abs())), 5e-3);
  }
}

/// In a steep bin, near its upper knot, rounding leaves nothing under the root, whose slope would be infinite.
TEST_F(SplineTest, GradientsOfTheInverseAreFiniteWhereRoundingLeavesNothingUnderTheRoot) {
  const int64_t bins = 8, items = 20000, steep = 3;
  const Spline spline({.bins = bins});
  auto raw = torch::randn({items, spline.outputs()}) * 0.3;
  raw.select(1, steep) -= 6;
  raw.select(1, bins + steep) += 6;
  raw.narrow(1, 2 * bins, bins - 1) -= 5;
  const auto shares =
      kLeastShare + (1 - bins * kLeastShare) * torch::softmax(raw.narrow(1, 0, bins).to(torch::kFloat64), 1);
  const auto knot = 8 * torch::cumsum(shares, 1).narrow(1, steep, 1) - 4;
  const auto below = knot - 1e-4 * 8 * shares.narrow(1, steep, 1);
  const auto z = spline.plain(below, raw.to(torch::kFloat64), false).value.to(torch::kFloat32).set_requires_grad(true);
  raw.set_requires_grad(true);
  for (const auto& moved : {spline.inverse(z, raw), spline.plain(z, raw, true)}) {
    for (const auto& gradient : torch::autograd::grad({moved.value.sum() + moved.log_slope.sum()}, {z, raw})) {
      EXPECT_TRUE(gradient.isfinite().all().item<bool>());
    }
  }
}

TEST_F(SplineTest, NoRowsAreNoRows) {
  const Spline spline({});
  const auto x = torch::zeros({0, 2}).set_requires_grad(true), raw = torch::zeros({0, 2 * spline.outputs()});
  const auto z = spline.forward(x, raw);
  EXPECT_EQ(z.value.sizes(), torch::IntArrayRef({0, 2}));
  EXPECT_EQ(torch::autograd::grad({z.value.sum()}, {x})[0].sizes(), torch::IntArrayRef({0, 2}));
}

TEST_F(SplineTest, OfZerosIsTheIdentity) {
  const Spline spline({});
  const auto x = torch::linspace(-6, 6, 101).unsqueeze(1), raw = torch::zeros({101, spline.outputs()});
  for (const auto& moved : {spline.forward(x, raw), spline.inverse(x, raw)}) {
    EXPECT_LT(far(moved.value, x), 2e-6);
    EXPECT_LT(moved.log_slope.abs().max().item<double>(), 2e-6);
  }
}

/// Where bins are as narrow and slopes as steep as they get, single precision must not run out of the map: the usual
/// inverse takes the root of a number that rounding made negative there.
TEST_F(SplineTest, ComesBackFromWhatIsSaidLoudly) {
  const Spline spline({.bins = 8, .bound = 3});
  for (const double loud : {10.0, 100.0, 1e4}) {
    const auto raw = torch::randn({2000, spline.outputs()}) * loud;
    const auto x = torch::linspace(-3, 3, 2000).unsqueeze(1);
    for (const bool inverse : {false, true}) {
      const auto moved = inverse ? spline.inverse(x, raw) : spline.forward(x, raw);
      EXPECT_TRUE(moved.value.isfinite().all().item<bool>() && moved.log_slope.isfinite().all().item<bool>());
      EXPECT_LE(moved.value.abs().max().item<double>(), 3 + 1e-6);
    }
    const auto xd = x.to(torch::kFloat64), rawd = raw.to(torch::kFloat64);
    EXPECT_LT(far(spline.inverse(spline.forward(xd, rawd).value, rawd).value, xd), 1e-5) << loud;
  }
}

TEST_F(SplineTest, EndsAndWhatIsNoNumber) {
  const Spline spline({.bins = 4, .bound = 2});
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto x = torch::tensor({-2.0f, 2.0f, 2.5f, -1e30f, infinity, nan}).unsqueeze(1);
  const auto z = spline.forward(x, torch::randn({6, spline.outputs()})).value;
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(z[i].item<float>(), x[i].item<float>()) << i;
  EXPECT_TRUE(z[5].isnan().item<bool>());
  // What a network said that is no number is not hidden by a clamp, where it is heard.
  EXPECT_TRUE(spline.forward(torch::zeros({1, 1}), torch::full({1, spline.outputs()}, nan)).value.isnan().item<bool>());
}

TEST_F(SplineTest, RefusesSizesThatAreNone) {
  EXPECT_THROW(Spline({.bins = 1}), c10::Error);
  EXPECT_THROW(Spline({.bins = Spline::kMostBins + 1}), c10::Error);
  EXPECT_THROW(Spline({.bound = 0}), c10::Error);
  EXPECT_THROW(Spline({.bound = 1001}), c10::Error);
  EXPECT_THROW(Spline({.bound = std::numeric_limits<double>::quiet_NaN()}), c10::Error);
}

}  // namespace
}  // namespace melflow::models
