// Every flow of the family is held to the same promises.

#include "tests/models/flow_family.h"
#include "models/flow/chain.h"
#include "tests/models/bijection_checks.h"

namespace melflow::models {
namespace {

using melflow::testing::expect_bijection;
using melflow::testing::shake;

class FlowFamily : public ::testing::TestWithParam<Member> {
 protected:
  void SetUp() override {
    torch::manual_seed(11);
    torch::set_num_threads(1);
  }
  /// Away from its starting values, its data-dependent parts set, ready to be used.
  static std::shared_ptr<Bijection> ready(const FlowShape& shape, double scale = 0.2) {
    auto flow = GetParam().recipe.make(shape);
    {
      torch::NoGradGuard no_grad;
      flow->train();
      flow->forward(torch::randn(shape.sizes(64)), context(shape, 64));
    }
    flow->eval();
    shake(*flow, scale);
    return flow;
  }
  /// The integral of a density over the plane.
  static double mass(Flow& flow) {
    flow.to(torch::kFloat64);
    torch::NoGradGuard no_grad;
    const double side = 14, step = 0.05;
    const auto axis = torch::arange(-side, side, step, torch::kFloat64);
    return flow.log_prob(torch::cartesian_prod({axis, axis})).exp().sum().item<double>() * step * step;
  }
  static torch::Tensor context(const FlowShape& shape, int64_t batch) {
    return shape.context > 0 ? torch::randn({batch, shape.context}) : torch::Tensor();
  }
};

TEST_P(FlowFamily, IsABijectionWithTheJacobiansDeterminant) {
  for (const int64_t d : {2, 3, 5}) {
    const FlowShape shape{.channels = d};
    expect_bijection(*ready(shape), torch::randn({3, d}));
  }
}

TEST_P(FlowFamily, IsABijectionForEveryContext) {
  const FlowShape shape{.channels = 3, .context = 2};
  auto flow = ready(shape);
  const auto x = torch::randn({3, 3}), c = torch::randn({3, 2});
  expect_bijection(*flow, x, c);
  const auto with_c = flow->forward(x.to(torch::kFloat64), c.to(torch::kFloat64)).value;
  EXPECT_GT((with_c - flow->forward(x.to(torch::kFloat64), -c.to(torch::kFloat64)).value).abs().max().item<double>(),
            1e-3);
}

TEST_P(FlowFamily, IsABijectionOfImages) {
  if (!GetParam().images) GTEST_SKIP() << "takes rows only";
  const FlowShape shape{.channels = 1, .height = 4, .width = 8, .context = 2};
  // Gently: a dozen couplings, each of which may stretch by e³, lose eight digits where all of them do.
  expect_bijection(*ready(shape, 0.1), torch::randn({2, 1, 4, 8}), torch::randn({2, 2}));
}

TEST_P(FlowFamily, DensityIntegratesToOne) {
  const FlowShape shape{.channels = 2};
  Flow flow(shape, ready(shape));
  EXPECT_NEAR(mass(flow), 1.0, 2e-3);
}

TEST_P(FlowFamily, DensityStillIntegratesToOneAfterTraining) {
  const FlowShape shape{.channels = 2};
  Flow flow(shape, GetParam().recipe.make(shape));
  flow.train();
  const auto across = torch::randn({256, 1}) * 1.5;
  const auto x = torch::cat({across, across.sin() + torch::randn({256, 1}) * 0.3}, 1);
  torch::optim::Adam adam(flow.parameters(), torch::optim::AdamOptions(1e-2));
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const auto loss = -flow.log_prob(x).mean();
    adam.zero_grad();
    loss.backward();
    adam.step();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_LT(last, first - 0.05);
  flow.eval();
  EXPECT_NEAR(mass(flow), 1.0, 2e-3);
}

TEST_P(FlowFamily, SamplesComeWithTheirOwnDensity) {
  const FlowShape shape{.channels = 3};
  Flow flow(shape, ready(shape));
  torch::NoGradGuard no_grad;
  const auto drawn = flow.draw(torch::randn({50, 3}));
  EXPECT_LT((flow.log_prob(drawn.x) - drawn.log_prob).abs().max().item<double>(), 2e-3);
}

/// Halves, squares and orders take turns: no number goes through all layers by itself.
TEST_P(FlowFamily, EveryNumberFollowsFromAnotherToo) {
  std::vector<FlowShape> shapes{{.channels = 2}, {.channels = 3}};
  if (GetParam().images) shapes.push_back({.channels = 1, .height = 4, .width = 4});
  for (const auto& shape : shapes) {
    auto flow = ready(shape);
    flow->to(torch::kFloat64);
    const auto x = torch::randn(shape.sizes(1), torch::kFloat64).set_requires_grad(true);
    const auto z = flow->forward(x, {}).value.flatten();
    for (int64_t i = 0; i < z.size(0); ++i) {
      auto row = torch::autograd::grad({z[i]}, {x}, {}, /*retain_graph=*/true)[0].flatten().clone();
      row[i] = 0;
      EXPECT_GT(row.abs().max().item<double>(), 1e-6) << "number " << i << " of " << z.size(0);
    }
  }
}

TEST_P(FlowFamily, OneItemDoesNotDependOnAnother) {
  const FlowShape shape{.channels = 4};
  auto flow = ready(shape);
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({5, 4});
  const auto kept = x.clone();
  const auto all = flow->forward(x), one = flow->forward(x.narrow(0, 0, 1));
  EXPECT_LT((all.value[0] - one.value[0]).abs().max().item<double>(), 1e-5);
  EXPECT_NEAR(all.log_det[0].item<double>(), one.log_det[0].item<double>(), 1e-5);
  EXPECT_TRUE(torch::equal(x, kept)) << "the input was changed";
}

TEST_P(FlowFamily, StaysFiniteAtExtremeParametersAndData) {
  for (const double extreme : {100.0, -100.0}) {
    const FlowShape shape{.channels = 3};
    auto flow = ready(shape);
    torch::NoGradGuard no_grad;
    int extremes = 0;
    for (auto& p : flow->named_parameters()) {
      // What a network puts out is bounded; plain matrices and gains at e^100 have no business being finite.
      const bool bounded = p.key().find("net") != std::string::npos || p.key().ends_with("parameters");
      if (!bounded) continue;
      p.value().copy_(torch::randn_like(p.value()).sign() * extreme);
      ++extremes;
    }
    ASSERT_GT(extremes, 0) << "a flow's own numbers are called `parameters`, its networks `…net…`";
    const auto z = flow->forward(torch::cat({torch::randn({20, 3}), torch::randn({20, 3}) * 100}));
    EXPECT_TRUE(z.value.isfinite().all().item<bool>());
    EXPECT_TRUE(z.log_det.isfinite().all().item<bool>());
  }
}

TEST_P(FlowFamily, InvertsFarFromItsStart) {
  const FlowShape shape{.channels = 3};
  auto flow = ready(shape, 0.5);
  flow->to(torch::kFloat64);
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({200, 3}, torch::kFloat64) * 2;
  EXPECT_LT((flow->inverse(flow->forward(x).value).value - x).abs().max().item<double>(), 1e-6);
}

// What a file claims is held against what it holds before anything is built: never above it, or whole files would be
// refused, and most of it, or a few numbers could ask for all memory.
TEST_P(FlowFamily, KnowsItsSizeBeforeItIsBuilt) {
  std::vector<FlowShape> shapes{{.channels = 8}, {.channels = 8, .context = 16}};
  if (GetParam().images) shapes.push_back({.channels = 3, .height = 4, .width = 8, .context = 16});
  for (const auto& shape : shapes) {
    const auto flow = GetParam().recipe.make(shape);
    double stored = 0;
    for (const auto& tensor : flow->parameters()) stored += static_cast<double>(tensor.numel());
    for (const auto& tensor : flow->buffers()) stored += static_cast<double>(tensor.numel());
    const double known = GetParam().recipe.weight_count(shape);
    EXPECT_LE(known, stored);
    EXPECT_GT(known, 0.6 * stored);
  }
}

/// Maps value through each layer of a flow in double, rounding to single precision behind each.
void forward_rounded(Bijection& flow, torch::Tensor& value) {
  if (dynamic_cast<Chain*>(&flow) != nullptr) {
    for (const auto& part : flow.children()) forward_rounded(dynamic_cast<Bijection&>(*part), value);
  } else {
    value = flow.forward(value).value.to(torch::kFloat32).to(torch::kFloat64);
  }
}

// What a layer shrinks below the last digit of what it adds is lost to any inverse; single precision may lose no more.
TEST_P(FlowFamily, InvertsInSinglePrecisionWhatItsDigitsKeep) {
  for (const double scale : {0.2, 0.5}) {
    auto flow = ready({.channels = 3}, scale);
    torch::NoGradGuard no_grad;
    const auto x = torch::randn({2000, 3}) * 2;
    const auto lost = (flow->inverse(flow->forward(x).value).value - x).abs().max().item<double>();
    flow->to(torch::kFloat64);
    auto z = x.to(torch::kFloat64);
    forward_rounded(*flow, z);
    const auto not_kept = (flow->inverse(z).value - x).abs().max().item<double>();
    EXPECT_LT(lost, 16 * not_kept + 1e-5) << "scale " << scale;
  }
}

INSTANTIATE_TEST_SUITE_P(All, FlowFamily, ::testing::ValuesIn(kFamily),
                         [](const auto& member) { return member.param.name; });

class FlowParts : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(3); }
};

TEST_F(FlowParts, RadialInverseIsExact) {
  torch::NoGradGuard no_grad;
  for (int i = 0; i < 100; ++i) {
    Radial flow(4);
    for (auto& p : flow.parameters()) p.mul_(4);
    flow.to(torch::kFloat64);
    const auto x = torch::randn({16, 4}, torch::kFloat64) * 3;
    EXPECT_LT((flow.inverse(flow.forward(x).value).value - x).abs().max().item<double>(), 1e-11);
  }
}

std::shared_ptr<Affine> shift_first(Scale scale) { return std::make_shared<Affine>(scale, Affine::Order::shift_first); }

/// The first dimension has nothing before it, but its context.
TEST_F(FlowParts, MaskedAutoregressiveHearsTheContextInEveryDimension) {
  MaskedAutoregressive flow({.dimensions = 3, .hidden = 16, .context = 2}, shift_first(Scale::tanh));
  shake(flow, 0.5);
  const auto c = torch::randn({1, 2}).set_requires_grad(true);
  const auto z = flow.forward(torch::randn({1, 3}), c).value[0];
  for (int64_t i = 0; i < 3; ++i) {
    const auto of_context = torch::autograd::grad({z[i]}, {c}, {}, /*retain_graph=*/true)[0];
    EXPECT_GT(of_context.abs().max().item<double>(), 1e-6) << i;
  }
}

/// Of one scale the squares alone: white ones follow from black ones, then black ones from white ones.
TEST_F(FlowParts, CheckerboardsTakeTurns) {
  const FlowShape shape{.channels = 1, .height = 4, .width = 4};
  const auto flow = make_real_nvp(shape, {.levels = 1, .hidden = 8});
  shake(*flow, 0.5);
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({1, 1, 4, 4});
  EXPECT_TRUE(((flow->forward(x, {}).value - x).abs() > 1e-4).all().item<bool>());
}

TEST_F(FlowParts, MaskedAutoregressiveSeesOnlyWhatIsBefore) {
  for (const bool reversed : {false, true}) {
    MaskedAutoregressive flow({.dimensions = 5, .hidden = 16, .reversed = reversed}, shift_first(Scale::tanh));
    shake(flow, 0.5);
    auto x = torch::randn({50, 5}).set_requires_grad(true);  // many points: at one of them a ReLU may be shut
    const auto z = flow.forward(x).value;
    for (int64_t i = 0; i < 5; ++i) {
      const auto row = torch::autograd::grad({z.select(1, i).sum()}, {x}, {}, true)[0].abs().sum(0);
      for (int64_t j = 0; j < 5; ++j) {
        const bool allowed = reversed ? j >= i : j <= i;
        EXPECT_EQ(row[j].item<float>() != 0, allowed) << i << " " << j;
      }
    }
  }
  EXPECT_THROW(MaskedAutoregressive({.dimensions = 9, .hidden = 4}, shift_first(Scale::tanh)), c10::Error);
}

TEST_F(FlowParts, FastAutoregressivePathsEqualTheWholePasses) {
  const auto spline = std::make_shared<Spline>(Spline::Options{});
  std::vector<std::shared_ptr<const Transform>> transforms{
      std::make_shared<Affine>(Scale::tanh), spline, std::make_shared<Composed>(shift_first(Scale::tanh), spline)};
  for (const auto scale : {Scale::exp, Scale::tanh, Scale::sigmoid, Scale::additive}) {
    transforms.push_back(shift_first(scale));
  }
  for (const bool reversed : {false, true}) {
    for (const int64_t context : {0, 3}) {
      for (const auto& transform : transforms) {
        MaskedAutoregressive flow({.dimensions = 7, .hidden = 20, .context = context, .reversed = reversed}, transform);
        shake(flow, 0.2);
        for (const int64_t batch : {1, 128, 300}) {  // below, at and across a tile
          const auto z = torch::randn({batch, 7}), c = context > 0 ? torch::randn({batch, 3}) : torch::Tensor();
          const auto slow = flow.forward(z, c);
          torch::NoGradGuard no_grad;
          const auto quick = flow.forward(z, c);
          EXPECT_LT(((quick.value - slow.value) / (1 + slow.value.abs())).abs().max().item<double>(), 1e-5);
          EXPECT_LT((quick.log_det - slow.log_det).abs().max().item<double>(), 1e-5);
          const auto fast = flow.inverse(z, c), plain = flow.inverse_by_passes(z, c);
          EXPECT_LT((fast.value - plain.value).abs().max().item<double>(), 1e-4);
          EXPECT_LT((fast.log_det - plain.log_det).abs().max().item<double>(), 1e-4);
        }
      }
    }
  }
}

}  // namespace
}  // namespace melflow::models
