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

TEST(WaveGlow, RefusesSizesThatCannotBe) {
  EXPECT_THROW(WaveGlow({.group_size = 7}), std::invalid_argument);
  EXPECT_THROW(WaveGlow({.n_flows = 20}), std::invalid_argument);  // the early outputs would eat every channel
  EXPECT_THROW(WaveGlow({.wavenet_kernel = 2}), std::invalid_argument);
}

}  // namespace
}  // namespace melflow::models
