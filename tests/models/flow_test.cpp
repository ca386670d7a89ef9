#include <memory>

#include "models/flow/act_norm.h"
#include "models/flow/batch_norm.h"
#include "models/flow/chain.h"
#include "models/flow/conv1x1.h"
#include "models/flow/coupling.h"
#include "models/flow/logit.h"
#include "models/flow/permutation.h"
#include "models/flow/split.h"
#include "models/flow/squeeze.h"
#include "models/flow/standardised_context.h"
#include "models/nets/mlp.h"
#include "models/nets/wavenet.h"
#include "tests/models/bijection_checks.h"

namespace melflow::models {
namespace {

using melflow::testing::expect_bijection;
using melflow::testing::shake;

std::shared_ptr<WaveNet> small_wavenet(int64_t in, int64_t out) {
  return std::make_shared<WaveNet>(
      WaveNet::Options{.in_channels = in, .out_channels = out, .context_channels = 5, .n_layers = 3, .n_channels = 6});
}

class FlowTest : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(7); }
};

TEST_F(FlowTest, Conv1x1IsABijection) {
  Conv1x1 flow(4);
  expect_bijection(flow, torch::randn({2, 4, 5}));
}

TEST_F(FlowTest, Conv1x1StartsAsARotation) {
  Conv1x1 flow(8);
  const auto w = flow.weight.to(torch::kFloat64);
  EXPECT_LT((w.matmul(w.t()) - torch::eye(8, torch::kFloat64)).abs().max().item<double>(), 1e-5);
  EXPECT_NEAR(torch::linalg_det(w).item<double>(), 1.0, 1e-5);
}

TEST_F(FlowTest, Conv1x1SurvivesAReflection) {  // ln(det W) would be NaN here
  Conv1x1 flow(3);
  {
    torch::NoGradGuard no_grad;
    flow.weight.copy_(torch::diag(torch::tensor({-1.0f, 2.0f, 3.0f})));
  }
  EXPECT_NEAR(flow.forward(torch::randn({1, 3, 2})).log_det.item<float>(), 2 * std::log(6.0), 1e-5);
}

TEST_F(FlowTest, CouplingIsABijectionWithEvenAndOddChannels) {
  for (const int64_t channels : {4, 5}) {
    Coupling flow(channels, small_wavenet(channels / 2, 2 * (channels - channels / 2)));
    shake(flow);
    expect_bijection(flow, torch::randn({2, channels, 6}), torch::randn({2, 5, 6}));
  }
}

TEST_F(FlowTest, CouplingTakesContextAtALowerRate) {
  Coupling flow(4, small_wavenet(2, 4));
  shake(flow);
  const auto x = torch::randn({1, 4, 6}), context = torch::randn({1, 5, 2});
  expect_bijection(flow, x, context);
  const auto wide = context.repeat_interleave(3, 2).to(torch::kFloat64);
  EXPECT_TRUE(torch::equal(flow.forward(x.to(torch::kFloat64), context.to(torch::kFloat64)).value,
                           flow.forward(x.to(torch::kFloat64), wide).value));
  EXPECT_THROW(flow.forward(x.to(torch::kFloat64), torch::randn({1, 5, 4}, torch::kFloat64)), c10::Error);
}

TEST_F(FlowTest, ChainAddsLogDeterminants) {
  auto a = std::make_shared<Conv1x1>(4), b = std::make_shared<Conv1x1>(4);
  shake(*a);
  shake(*b);
  Chain chain({a, b});
  expect_bijection(chain, torch::randn({2, 4, 3}));
}

TEST_F(FlowTest, InverseExchangesTheDirections) {
  auto part = std::make_shared<Conv1x1>(4);
  shake(*part);
  Inverse flow(part);
  expect_bijection(flow, torch::randn({1, 4, 3}));
  const auto x = torch::randn({1, 4, 3}, torch::kFloat64);
  EXPECT_TRUE(torch::equal(flow.forward(x).value, part->inverse(x).value));
}

TEST_F(FlowTest, SplitLetsTheFirstChannelsLeave) {
  auto rest = std::make_shared<Conv1x1>(3);
  shake(*rest);
  Split flow(2, rest);
  expect_bijection(flow, torch::randn({2, 5, 3}));
  const auto x = torch::randn({1, 5, 3}, torch::kFloat64);
  EXPECT_TRUE(torch::equal(flow.forward(x).value.narrow(1, 0, 2), x.narrow(1, 0, 2)));
}

TEST_F(FlowTest, SqueezePutsConsecutiveSamplesIntoChannels) {
  Squeeze flow(4);
  expect_bijection(flow, torch::randn({2, 12}));
  const auto z = flow.forward(torch::arange(8).view({1, 8})).value;
  EXPECT_EQ(z[0][3][1].item<int64_t>(), 7);
  EXPECT_EQ(z[0][1][0].item<int64_t>(), 1);
  EXPECT_THROW(flow.forward(torch::randn({1, 10})), c10::Error);
}

TEST_F(FlowTest, WaveNetReachesAsFarAsItSays) {
  const WaveNet::Options options{
      .in_channels = 2, .out_channels = 2, .context_channels = 1, .n_layers = 3, .n_channels = 4};
  WaveNet net(options);
  shake(net, 0.5);
  net.to(torch::kFloat64);
  auto x = torch::randn({1, 2, 41}, torch::kFloat64).set_requires_grad(true);
  const auto out = net.forward(x, torch::zeros({1, 1, 41}, torch::kFloat64));
  const auto grad = torch::autograd::grad({out[0].select(1, 20).sum()}, {x})[0].abs().sum(1)[0];
  const auto touched = grad.nonzero().flatten();
  EXPECT_EQ(touched.min().item<int64_t>(),
            20 - wavenet_side(options.n_layers, options.kernel_size, options.dilation_cycle));
  EXPECT_EQ(touched.max().item<int64_t>(),
            20 + wavenet_side(options.n_layers, options.kernel_size, options.dilation_cycle));
}

TEST_F(FlowTest, ActNormStartsFromItsFirstBatchAndOnlyInTraining) {
  ActNorm flow(3);
  const auto x = torch::randn({500, 3}) * torch::tensor({0.1f, 5.0f, 0.0f}) + 7;
  flow.eval();
  EXPECT_TRUE(torch::equal(flow.forward(x).value, x));
  flow.train();
  const auto z = flow.forward(x).value;
  EXPECT_LT(z.mean(0).abs().max().item<double>(), 1e-4);
  EXPECT_NEAR(z.select(1, 0).std(false).item<double>(), 1.0, 1e-4);
  EXPECT_NEAR(z.select(1, 1).std(false).item<double>(), 1.0, 1e-4);
  EXPECT_TRUE(z.isfinite().all().item<bool>());
  EXPECT_TRUE(torch::equal(flow.forward(x + 1).value, flow.forward(x + 1).value));
  ActNorm copy(3);  // initialised by loading, never again by data
  torch::NoGradGuard no_grad;
  for (const auto& p : flow.named_parameters()) copy.named_parameters()[p.key()].copy_(p.value());
  for (const auto& b : flow.named_buffers()) copy.named_buffers()[b.key()].copy_(b.value());
  copy.train();
  EXPECT_TRUE(torch::equal(copy.forward(x * 3).value, flow.forward(x * 3).value));
}

TEST_F(FlowTest, BatchNormNormalisesInTrainingAndRemembers) {
  BatchNorm flow(2);
  flow.train();
  const auto x = torch::randn({400, 2, 3}) * 3 + 5;
  for (int i = 0; i < 200; ++i) flow.forward(x);
  const auto z = flow.forward(x);
  EXPECT_LT(z.value.mean().abs().item<double>(), 1e-4);
  flow.eval();
  EXPECT_LT((flow.forward(x).value - z.value).abs().max().item<double>(), 1e-2);
  EXPECT_LT((flow.forward(x).log_det - z.log_det).abs().max().item<double>(), 1e-2);
  expect_bijection(flow, torch::randn({2, 2, 3}));
}

TEST_F(FlowTest, BatchNormTakesWhatItRemembersForASingleRow) {
  BatchNorm flow(3);
  flow.train();
  for (int i = 0; i < 50; ++i) flow.forward(torch::randn({64, 3}) * 2 + 1);
  const auto row = torch::randn({1, 3});
  const auto z = flow.forward(row);
  flow.eval();
  const auto expected = flow.forward(row);
  EXPECT_TRUE(torch::equal(z.value, expected.value));
  EXPECT_TRUE(torch::equal(z.log_det, expected.log_det));
}

TEST_F(FlowTest, EveryOtherPartIsABijection) {
  Permutation permutation(5);
  expect_bijection(permutation, torch::randn({2, 5}));
  Squeeze2d squeeze;
  expect_bijection(squeeze, torch::randn({2, 2, 4, 2}));
  Conv1x1Lu lu(4);
  shake(lu);
  expect_bijection(lu, torch::randn({2, 4, 3, 2}));
  expect_bijection(lu, torch::randn({2, 4}));
  Logit logit(16, 0.05);
  expect_bijection(logit, torch::rand({2, 1, 2, 2}) * 0.9 + 0.05);
  Standardise standardise(3);
  standardise.fit(torch::randn({50, 3}) * 4 + 2);
  expect_bijection(standardise, torch::randn({2, 3}));
  const auto inner =
      std::make_shared<Coupling>(3, std::make_shared<Mlp>(Mlp::Options{.in = 1, .out = 4, .hidden = 8, .context = 2}));
  shake(*inner);
  StandardisedContext told(2, inner);
  const auto context = torch::randn({50, 2}) * 100 + 1000;
  told.fit(context);
  expect_bijection(told, torch::randn({2, 3}), context.narrow(0, 0, 2));
}

TEST_F(FlowTest, Conv1x1LuStartsAsARotationAndKeepsItsSign) {
  Conv1x1Lu flow(6);
  const auto w = flow.weight().to(torch::kFloat64);
  EXPECT_LT((w.matmul(w.t()) - torch::eye(6, torch::kFloat64)).abs().max().item<double>(), 1e-5);
  const double sign = torch::linalg_det(w).sign().item<double>();
  shake(flow, 2);
  EXPECT_EQ(torch::linalg_det(flow.weight().to(torch::kFloat64)).sign().item<double>(), sign);
}

TEST_F(FlowTest, ACacheFollowsItsWeights) {
  Conv1x1Lu flow(3);
  torch::NoGradGuard no_grad;
  const auto x = torch::randn({4, 3});
  const auto before = flow.forward(x).value;
  shake(flow, 0.5);
  EXPECT_FALSE(torch::equal(flow.forward(x).value, before));
  EXPECT_LT((flow.inverse(flow.forward(x).value).value - x).abs().max().item<double>(), 1e-4);
}

TEST_F(FlowTest, LogitOfPixelsStaysFiniteAtBothEnds) {
  Logit flow(256, 0.01);
  const auto z = flow.forward(torch::tensor({{0.0f, 256.0f}}));
  EXPECT_TRUE(z.value.isfinite().all().item<bool>() && z.log_det.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace melflow::models
