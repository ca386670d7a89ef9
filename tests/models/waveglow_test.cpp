#include "models/waveglow.h"

#include <malloc.h>

#include <cstdlib>

#include <c10/core/CPUAllocator.h>

#include "models/autocast.h"
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

/// The loss of a training, and its gradients by the parameters' names; `narrow`: forward under autocast.
std::map<std::string, torch::Tensor> gradients(WaveGlow& model, const torch::Tensor& x, const torch::Tensor& mel,
                                               bool reversible, bool narrow = false) {
  EXPECT_TRUE(model.set_reversible(reversible));
  model.zero_grad();
  const auto z = [&] {
    const Autocast precision(at::kCPU, {.on = narrow});
    return model.forward(x, mel);
  }();
  const auto loss = (z.value.square().sum(1) / 2 - z.local).mean();
  loss.backward();
  std::map<std::string, torch::Tensor> out{{"loss", loss.detach()}};
  for (const auto& p : model.named_parameters()) out[p.key()] = p.value().grad().clone();
  return out;
}

/// Largest ‖a - b‖/‖b‖ over the tensors.
double farthest(const std::map<std::string, torch::Tensor>& a, const std::map<std::string, torch::Tensor>& b) {
  double most = 0;
  for (const auto& [name, tensor] : b) {
    most = std::max(most, ((a.at(name) - tensor).norm() / tensor.norm()).item<double>());
  }
  return most;
}

WaveGlowOptions twelve_flows() {
  return {.n_mels = 8, .context_channels = 8, .wavenet_layers = 2, .wavenet_channels = 16};
}

TEST(WaveGlow, WithoutKeptActivationsGradientsAreThoseOfThePlainGraph) {
  for (const bool swap : {false, true}) {
    torch::manual_seed(7);
    auto options = twelve_flows();
    options.conditioning = swap ? Conditioning::frame_rate : Conditioning::sample_rate;
    options.swap_odd_halves = swap;
    if (swap) options.wavenet_channels = 64;  // goes by rows, in float32
    WaveGlow model(options);
    shake(model, 0.05);
    const auto x = torch::randn({2, 512}), mel = torch::randn({2, 8, 2});
    EXPECT_LT(farthest(gradients(model, x, mel, true), gradients(model, x, mel, false)), 1e-5) << swap;
    model.to(torch::kFloat64);
    const auto xd = x.to(torch::kFloat64), meld = mel.to(torch::kFloat64);
    EXPECT_LT(farthest(gradients(model, xd, meld, true), gradients(model, xd, meld, false)), 1e-11) << swap;
  }
}

TEST(WaveGlow, WithoutKeptActivationsInputsAreFoundAgainUnderAutocastToo) {
  torch::manual_seed(8);
  WaveGlow model(twelve_flows());
  shake(model, 0.05);
  // In double the plain graph, too, hands on what the other does; the networks compute in single precision or less.
  const auto x = torch::randn({2, 512}, torch::kFloat64), mel = torch::randn({2, 8, 2});
  const auto in_full = gradients(model, x, mel, false);
  const auto plain = gradients(model, x, mel, false, true);
  EXPECT_GT(farthest(plain, in_full), 1e-4);  // it did compute in 16 bits
  EXPECT_LT(farthest(plain, in_full), 0.1);
  EXPECT_LT(farthest(gradients(model, x, mel, true, true), plain), 1e-5);
}

TEST(WaveGlow, WithoutKeptActivationsRowsInBfloat16AreRunAgainAsTheyRan) {
  torch::manual_seed(8);
  auto options = twelve_flows();
  options.wavenet_channels = 64;
  WaveGlow model(options);
  shake(model, 0.02);
  const auto x = torch::randn({2, 512}), mel = torch::randn({2, 8, 2});
  const auto in_full = gradients(model, x, mel, true);
  const auto plain = gradients(model, x, mel, false, true), again = gradients(model, x, mel, true, true);
  EXPECT_GT(farthest(plain, in_full), 1e-4);
  // Inputs that are found again differ in a last bit, which a rounding to bfloat16 makes larger.
  EXPECT_LT(farthest(again, plain), farthest(again, in_full));
}

TEST(WaveGlow, AGraphWithoutActivationsGoesBackTwiceWhereItIsKept) {
  torch::manual_seed(9);
  WaveGlow model(twelve_flows());
  shake(model, 0.05);
  model.set_reversible(true);
  const auto z = model.forward(torch::randn({1, 512}), torch::randn({1, 8, 2})).value.square().sum();
  const auto p = model.parameters().front();
  const auto once = torch::autograd::grad({z}, {p}, {}, /*retain_graph=*/true)[0];
  EXPECT_TRUE(torch::equal(torch::autograd::grad({z}, {p})[0], once));
}

/// Counts the bytes that tensors hold.
class CountingAllocator : public at::Allocator {
 public:
  CountingAllocator() : below_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, /*priority=*/1); }
  ~CountingAllocator() override { c10::SetCPUAllocator(below_, /*priority=*/1); }
  at::DataPtr allocate(size_t bytes) override {
    void* data = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    live_ += malloc_usable_size(data);
    peak_ = std::max(peak_, live_);
    return {data, data, release, at::kCPU};
  }
  at::DeleterFnPtr raw_deleter() const override { return release; }
  void copy_data(void* to, const void* from, size_t bytes) const override { below_->copy_data(to, from, bytes); }
  /// The most that `work` held beyond what was there before.
  template <typename Work>
  size_t peak_of(Work&& work) {
    const auto before = live_;
    peak_ = live_;
    work();
    return peak_ - before;
  }

 private:
  static void release(void* data) {
    live_ -= malloc_usable_size(data);
    std::free(data);
  }

  at::Allocator* below_;
  static inline size_t live_ = 0, peak_ = 0;
};

TEST(WaveGlow, WithoutKeptActivationsMemoryDoesNotGrowWithTheFlows) {
  CountingAllocator allocator;
  torch::manual_seed(10);
  const auto x = torch::randn({1, 8192}), mel = torch::randn({1, 4, 32});
  const auto peak = [&](int64_t flows, bool reversible) {
    auto options = twelve_flows();
    options.n_flows = flows;
    options.early_every = 100;
    options.n_mels = 4;  // with these, networks hold as much beside their context as at the published size
    options.wavenet_layers = 4;
    options.wavenet_channels = 32;
    WaveGlow model(options);
    for (auto& p : model.parameters()) p.mutable_grad() = torch::zeros_like(p);
    model.set_reversible(reversible);
    return allocator.peak_of([&] {
      const auto z = model.forward(x, mel);
      (z.value.square().mean() / 2 - z.local.mean()).backward();
    });
  };
  const auto plain = static_cast<double>(peak(12, false)), ours = static_cast<double>(peak(12, true));
  RecordProperty("share_of_the_plain_graph", std::to_string(ours / plain));
  EXPECT_LE(ours, plain / 4);
  EXPECT_LE(ours, 1.02 * static_cast<double>(peak(3, true)));
}

}  // namespace
}  // namespace melflow::models
