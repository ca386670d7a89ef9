#include "models/waveglow.h"

#include "tests/models/bijection_checks.h"

namespace melflow::models {
namespace {

using melflow::testing::expect_bijection;
using melflow::testing::shake;

WaveGlowOptions small() {
  return {.n_mels = 3,
          .hop_length = 8,
          .n_flows = 5,
          .group_size = 8,
          .early_every = 2,
          .early_size = 2,
          .upsample_kernel = 32,
          .context_channels = 6,
          .wavenet_layers = 2,
          .wavenet_channels = 4};
}

TEST(WaveGlow, IsABijectionWithEitherConditioning) {
  torch::manual_seed(3);
  for (const auto conditioning : {Conditioning::sample_rate, Conditioning::frame_rate}) {
    auto options = small();
    options.conditioning = conditioning;
    WaveGlow model(options);
    shake(model);
    expect_bijection(model, torch::randn({2, 24}), torch::randn({2, 3, 3}), 1e-7);
  }
}

TEST(WaveGlow, WorksOnOneFrame) {
  torch::manual_seed(4);
  WaveGlow model(small());
  shake(model);
  expect_bijection(model, torch::randn({1, 8}), torch::randn({1, 3, 1}), 1e-7);
}

TEST(WaveGlow, StartsAsARotationOfItsInput) {  // so the first loss of a training is mean(x²)/2, as published
  torch::manual_seed(5);
  WaveGlow model(WaveGlowOptions{.n_mels = 8, .wavenet_layers = 3, .wavenet_channels = 8});
  const auto x = torch::randn({2, 512});
  const auto z = model.forward(x, torch::randn({2, 8, 2}));
  EXPECT_NEAR(z.value.square().mean().item<double>(), x.square().mean().item<double>(), 1e-5);
  EXPECT_LT(z.log_det.abs().max().item<double>() / 512, 1e-5);
}

TEST(WaveGlow, DependsOnNothingOutsideItsReach) {
  torch::manual_seed(6);
  auto options = small();
  WaveGlow model(options);
  shake(model, 0.3);
  model.to(torch::kFloat64);
  const int64_t frames = 41, middle = 20;
  auto mel = torch::randn({1, 3, frames}, torch::kFloat64).set_requires_grad(true);
  const auto z = torch::randn({1, 8, frames}, torch::kFloat64);
  const auto x = model.inverse(z, mel).value;
  const auto grad = torch::autograd::grad({x.narrow(1, middle * 8, 8).sum()}, {mel})[0].abs().sum(1)[0];
  const auto touched = grad.nonzero().flatten();
  EXPECT_GE(touched.min().item<int64_t>(), middle - model.reach().history_frames);
  EXPECT_LE(touched.max().item<int64_t>(), middle + model.reach().lookahead_frames);
}

TEST(WaveGlow, PublishedSizeReaches96FramesAhead) {
  // 12 flows · 255 groups · 8 samples = 24,480 samples = 95.6 frames; the upsampler adds 3 frames of history.
  WaveGlowOptions options;
  options.wavenet_channels = 2;  // the reach does not depend on it
  const auto reach = WaveGlow(options).reach();
  EXPECT_EQ(reach.lookahead_frames, 96);
  EXPECT_EQ(reach.history_frames, 99);
}

/// Gradients of a sum over the outputs by every parameter and both inputs.
std::vector<torch::Tensor> gradients(torch::nn::Module& model, const torch::Tensor& out, const torch::Tensor& x,
                                     const torch::Tensor& context) {
  const auto weights = torch::sin(torch::arange(out.numel(), out.options())).view_as(out);
  auto of = model.parameters();
  of.insert(of.end(), {x, context});
  return torch::autograd::grad({(out * weights).sum()}, of);
}

double largest_relative_error(const std::vector<torch::Tensor>& actual, const std::vector<torch::Tensor>& expected) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const auto error = (actual[i].to(torch::kFloat64) - expected[i]).norm() / expected[i].norm();
    worst = std::max(worst, error.item<double>());
  }
  return worst;
}

TEST(WaveNet, TrainsByTheGradientsOfThePlainFormulas) {
  torch::manual_seed(7);
  for (const int64_t channels : {3, 64}) {
    for (const int64_t frames : {5, 40}) {  // 40 groups of samples: one context for eight of them, or each its own
      WaveNet net({.in_channels = 3, .out_channels = 4, .context_channels = 10, .n_layers = 4, .n_channels = channels});
      shake(net, 0.3);
      auto x = torch::randn({2, 3, 40}).requires_grad_(), context = torch::randn({2, 10, frames}).requires_grad_();
      const auto out = net.forward(x, context);
      const auto actual = gradients(net, out, x, context);
      net.to(torch::kFloat64);
      auto exact_x = x.detach().to(torch::kFloat64).requires_grad_();
      auto exact_context = context.detach().to(torch::kFloat64).requires_grad_();
      const auto expected = net.plain_forward(exact_x, exact_context);
      EXPECT_LT(largest_relative_error({out}, {expected}), 1e-5);
      EXPECT_LT(largest_relative_error(actual, gradients(net, expected, exact_x, exact_context)), 1e-5);
    }
  }
}

TEST(WaveGlow, TrainsByTheGradientsOfThePlainFormulas) {
  torch::manual_seed(8);
  for (const int64_t upsample_kernel : {8, 29, 32}) {  // also one that is no whole number of hops
    auto options = small();
    options.upsample_kernel = upsample_kernel;
    WaveGlow model(options);
    shake(model);
    auto x = torch::randn({2, 40}).requires_grad_(), mel = torch::randn({2, 3, 5}).requires_grad_();
    const auto out = model.forward(x, mel).value;
    const auto actual = gradients(model, out, x, mel);
    torch::NoGradGuard no_grad;  // without gradients the transposed convolution is ATen's own, the WaveNets are plain
    EXPECT_LT(largest_relative_error({out}, {model.forward(x, mel).value.to(torch::kFloat64)}), 1e-5);
    model.to(torch::kFloat64);
    torch::AutoGradMode with_grad(true);
    auto exact_x = x.detach().to(torch::kFloat64).requires_grad_(),
         exact_mel = mel.detach().to(torch::kFloat64).requires_grad_();
    const auto expected = model.forward(exact_x, exact_mel).value;
    EXPECT_LT(largest_relative_error(actual, gradients(model, expected, exact_x, exact_mel)), 1e-5);
  }
}

TEST(WaveGlow, RefusesSizesThatCannotBe) {
  EXPECT_THROW(WaveGlow({.group_size = 7}), std::invalid_argument);
  EXPECT_THROW(WaveGlow({.n_flows = 20}), std::invalid_argument);  // the early outputs would eat every channel
  EXPECT_THROW(WaveGlow({.wavenet_kernel = 2}), std::invalid_argument);
}

}  // namespace
}  // namespace melflow::models
