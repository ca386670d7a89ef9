// The one flow of the family whose inverse is searched for.
#include "models/planar.h"

#include "tests/models/bijection_checks.h"

namespace melflow::models {
namespace {

using melflow::testing::expect_bijection;

class PlanarTest : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::manual_seed(3);
    torch::set_num_threads(1);
  }
};

/// A planar map of three numbers, as it starts but for a factor on all of its parameters.
std::shared_ptr<Planar> planar_times(double factor) {
  auto flow = std::make_shared<Planar>(3);
  torch::NoGradGuard no_grad;
  for (auto& p : flow->parameters()) p.mul_(factor);
  return flow;
}

TEST_F(PlanarTest, InvertsInDoubleHoweverSteepAndWhereNothingIsFinite) {
  torch::NoGradGuard no_grad;
  for (const double factor : {1.0, 8.0, 100.0, 300.0, 1000.0}) {
    double worst = 0;
    for (int i = 0; i < 100; ++i) {
      const auto flow = planar_times(factor);
      flow->to(torch::kFloat64);
      const auto x = torch::randn({64, 3}, torch::kFloat64) * 3;
      worst = std::max(worst, (flow->inverse(flow->forward(x).value).value - x).abs().max().item<double>());
    }
    EXPECT_LT(worst, factor > 100 ? 1e-6 : 1e-8) << "times " << factor;
  }
}

/// A row that is no number takes no other with it.
TEST_F(PlanarTest, OfNoNumberThereIsNone) {
  torch::NoGradGuard no_grad;
  const auto flow = planar_times(1);
  const auto x = torch::randn({3, 3});
  const auto alone = flow->inverse(x);
  for (const double value : {std::nan(""), HUGE_VAL}) {
    auto z = x.clone();
    z[1].fill_(value);
    const auto mapped = flow->inverse(z);
    EXPECT_FALSE(mapped.value[1].isfinite().any().item<bool>()) << value;
    EXPECT_TRUE(mapped.log_det[1].isnan().item<bool>()) << value;
    for (const int row : {0, 2}) EXPECT_TRUE(torch::equal(mapped.value[row], alone.value[row])) << value;
  }
}

TEST_F(PlanarTest, InvertsWhereItsDirectionVanishes) {
  for (const double length : {1e-3, 1e-6, 1e-7, 0.0}) {
    const auto flow = planar_times(1);
    {
      torch::NoGradGuard no_grad;
      flow->parameters()[0].narrow(0, 3, 3).mul_(length);
    }
    expect_bijection(*flow, torch::randn({3, 3}));
  }
}

// Single precision loses what the map shrinks, but what is found maps to what was given, to the digits that forward()
// keeps of it: of numbers as large as x and û, times how far it may stretch, 1 + ‖û‖ ‖w‖.
TEST_F(PlanarTest, FindsInSinglePrecisionWhatMapsToItsInput) {
  torch::NoGradGuard no_grad;
  for (const double factor : {1.0, 8.0, 100.0}) {
    for (int i = 0; i < 100; ++i) {
      const auto flow = planar_times(factor);
      const auto y = flow->forward(torch::randn({64, 3}) * 3).value;
      const auto x = flow->inverse(y).value.to(torch::kFloat64);
      flow->to(torch::kFloat64);
      const double off = (flow->forward(x).value - y).abs().max().item<double>();
      const double size = flow->parameters()[0].norm().item<double>();
      EXPECT_LT(off, 1.2e-7 * (1 + size * size) * (10 + size)) << "times " << factor;
    }
  }
}

TEST_F(PlanarTest, KeepsInvertibleWhateverItsParameters) {
  torch::NoGradGuard no_grad;
  Planar flow(2);
  auto p = flow.parameters()[0];
  p.copy_(torch::tensor({-50.0f, 0.0f, 1.0f, 0.0f, 0.0f}));  // w·u = -50
  const auto x = torch::tensor({{-1.0f, 0.0f}, {0.0f, 0.0f}, {1.0f, 0.0f}});
  const auto y = flow.forward(x).value.select(1, 0);
  EXPECT_GT(y[1].item<float>(), y[0].item<float>());
  EXPECT_GT(y[2].item<float>(), y[1].item<float>());
}

/// The direction that is not searched for: by the same weights, the one's forward is the other's inverse.
TEST_F(PlanarTest, ClosedSaysWhichDirectionIsAFormula) {
  torch::NoGradGuard no_grad;
  const FlowShape shape{.channels = 3};
  const auto x = torch::randn({5, 3});
  torch::manual_seed(4);
  const auto density = make_planar(shape, {.layers = 2, .closed = Closed::density});
  torch::manual_seed(4);
  const auto sampling = make_planar(shape, {.layers = 2, .closed = Closed::sampling});
  const auto by_formula = density->forward(x), drawn = sampling->inverse(x);
  EXPECT_TRUE(torch::equal(by_formula.value, drawn.value));
  EXPECT_TRUE(torch::equal(by_formula.log_det, drawn.log_det));
}

TEST_F(PlanarTest, InverseCarriesGradients) {
  Planar flow(2);
  flow.to(torch::kFloat64);
  const auto y = torch::randn({4, 2}, torch::kFloat64);
  auto p = flow.parameters()[0];
  const auto loss = [&] { return (flow.inverse(y).value.square().sum() + flow.inverse(y).log_det.sum()); };
  loss().backward();
  torch::NoGradGuard no_grad;
  for (int64_t i = 0; i < p.size(0); ++i) {
    const double h = 1e-6, before = p[i].item<double>();
    p[i] = before + h;
    const double above = loss().item<double>();
    p[i] = before - h;
    const double below = loss().item<double>();
    p[i] = before;
    EXPECT_NEAR(p.grad()[i].item<double>(), (above - below) / (2 * h), 1e-5) << i;
  }
}

}  // namespace
}  // namespace melflow::models
