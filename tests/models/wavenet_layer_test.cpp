#include "models/nets/wavenet_layer.h"

#include <algorithm>
#include <string>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/models/as_read.h"

namespace melflow::models {
namespace {

using cpu::Precision;
using torch::Tensor;

struct Sizes {
  int64_t batch, time, frames, channels, context, outputs, kernel, dilation;
  bool residual;
};

// One row; fewer rows than a dilation; chunks' edges; frames of many rows; channels that fill no panel.
const Sizes kCases[] = {
    {1, 1, 1, 3, 5, 2, 3, 1, true},        {2, 7, 7, 65, 4, 6, 3, 16, true},   {2, 403, 403, 72, 20, 8, 3, 64, false},
    {3, 450, 15, 100, 640, 8, 3, 1, true}, {1, 4100, 4, 64, 9, 4, 3, 8, true}, {2, 200, 200, 66, 7, 8, 1, 4, true},
    {1, 500, 50, 33, 7, 33, 5, 3, true},
};

/// A layer with what it is given and what it gives, forward and backward.
class WaveNetLayerTest : public ::testing::TestWithParam<std::tuple<Precision, Sizes>> {
 protected:
  WaveNetLayerTest() {
    torch::manual_seed(4);
    const auto c = n.channels;
    const auto scale = 1 / std::sqrt(static_cast<double>(n.kernel * c));
    layer = {torch::randn({2 * c, c, n.kernel}) * scale,
             torch::randn({2 * c}),
             torch::randn({(n.residual ? c : 0) + n.outputs, c}) * scale,
             torch::randn({(n.residual ? c : 0) + n.outputs}),
             torch::randn({2 * c, n.context}) / std::sqrt(static_cast<double>(n.context)),
             torch::randn({2 * c}),
             n.dilation};
    h = torch::randn({n.batch, n.time, c});
    context = torch::randn({n.batch, n.frames, n.context});
    of_next = n.residual ? torch::randn_like(h) : torch::zeros_like(h);
    of_sum = torch::randn({n.batch, n.time, n.outputs});
    before = {torch::randn_like(of_sum), torch::randn_like(context), torch::randn_like(layer.cond_weight)};
  }

  struct Given {
    LayerKept kept;
    Tensor next, sum, of_u, of_frames, of_h, of_context, of_conditioning;
    LayerGradients of;
    std::vector<Tensor> all() const {
      std::vector<Tensor> out{kept.tanh,  kept.sigmoid,    kept.product, sum,        of_u,          of_h,
                              of_context, of_conditioning, of.in_weight, of.in_bias, of.out_weight, of.residual_bias};
      if (next.defined()) out.push_back(next);
      return out;
    }
  };
  /// What was there before is added to: `before` to the sum and the context's and conditioning's gradients.
  Given run() const {
    const WaveNetSizes s{n.batch, n.time, n.channels, n.frames, n.context, n.outputs, precision};
    Given out{.kept = {h, torch::empty_like(h), torch::empty_like(h), torch::empty_like(h)},
              .next = n.residual ? torch::empty_like(h) : Tensor(),
              .sum = before[0].clone(),
              .of_u = torch::empty({n.batch, n.time, 2 * n.channels}),
              .of_frames = {},
              .of_h = of_next.clone(),
              .of_context = before[1].clone(),
              .of_conditioning = before[2].clone(),
              .of = {}};
    out.of_frames = s.repeat() == 1 ? out.of_u : torch::empty({n.batch, n.frames, 2 * n.channels});
    layer_forward(s, layer, out.kept, LayerContext(s, context), out.next, out.sum);
    Correlated with_context{context.const_data_ptr<float>(), n.context, nullptr};
    with_context.words = words_of(precision, with_context, n.batch, n.frames);
    out.of =
        layer_backward(s, layer, out.kept, {out.of_h, of_sum, with_context, out.of_context, out.of_u, out.of_frames},
                       out.of_conditioning);
    return out;
  }

  Tensor read(const Tensor& x) const { return as_read(precision, x); }
  /// Rows `offset` later in time, zeros where there are none.
  Tensor later(const Tensor& x, int64_t offset) const {
    const auto far = std::abs(offset);
    return torch::constant_pad_nd(x, {0, 0, far, far}).narrow(1, far + offset, n.time);
  }
  Tensor for_each_row(const Tensor& frames) const { return frames.repeat_interleave(n.time / n.frames, 1); }
  void expect_near(const Tensor& actual, const Tensor& expected, const char* what) const {
    EXPECT_LT(relative_error(actual, expected), 2e-6) << what;
  }

  Precision precision = std::get<0>(GetParam());
  Sizes n = std::get<1>(GetParam());
  LayerTensors layer;
  Tensor h, context, of_next, of_sum;
  std::vector<Tensor> before;
};

TEST_P(WaveNetLayerTest, GivesWhatTheFormulasSay) {
  const auto of = run();
  auto u = (layer.in_bias + layer.cond_bias + for_each_row(read(context).matmul(read(layer.cond_weight).t())));
  for (int64_t k = 0; k < n.kernel; ++k)
    u = u + later(read(h), layer.offset(k)).matmul(read(layer.in_weight).select(2, k).t());
  expect_near(of.kept.tanh, u.narrow(2, 0, n.channels).tanh(), "tanh");
  expect_near(of.kept.sigmoid, u.narrow(2, n.channels, n.channels).sigmoid(), "sigmoid");
  const auto product = read(of.kept.tanh * of.kept.sigmoid);
  const auto residual = n.residual ? n.channels : 0;
  const auto out = product.matmul(read(layer.out_weight).t());
  if (n.residual) expect_near(of.next, h + layer.out_bias.narrow(0, 0, residual) + out.narrow(2, 0, residual), "next");
  expect_near(of.sum, before[0] + out.narrow(2, residual, n.outputs), "sum");
}

TEST_P(WaveNetLayerTest, GivesTheFormulasGradients) {
  const auto given = run();
  const auto c = n.channels, residual = n.residual ? c : 0;
  const auto summed = [](const Tensor& a, const Tensor& b) { return a.transpose(1, 2).matmul(b).sum(0); };
  const auto of_out = n.residual ? torch::cat({of_next, of_sum}, 2) : of_sum;
  const auto of_product = read(of_out).matmul(read(layer.out_weight));
  const auto t = given.kept.tanh.to(torch::kFloat64), s = given.kept.sigmoid.to(torch::kFloat64);
  expect_near(given.of_u, torch::cat({of_product * s * (1 - t * t), of_product * t * s * (1 - s)}, 2), "u");
  expect_near(given.of.in_bias, given.of_u.to(torch::kFloat64).flatten(0, 1).sum(0), "bias");
  if (n.residual)
    expect_near(given.of.residual_bias, of_next.to(torch::kFloat64).flatten(0, 1).sum(0), "residual's bias");
  expect_near(given.of.out_weight, summed(read(of_out), read(given.kept.product)), "out");

  const auto of_u = read(given.of_u);
  auto of_h = of_next.to(torch::kFloat64);
  for (int64_t k = 0; k < n.kernel; ++k) {
    const auto offset = layer.offset(k);
    expect_near(given.of.in_weight.select(2, k), summed(of_u, later(read(h), offset)), "in");
    of_h = of_h + later(of_u, -offset).matmul(read(layer.in_weight).select(2, k));
  }
  expect_near(given.of_h, of_h, "h");
  const auto by_frame = given.of_u.to(torch::kFloat64).unflatten(1, {n.frames, n.time / n.frames}).sum(2);
  const auto of_frames = read(by_frame.to(torch::kFloat32));
  // Sums of a frame's rows are float32's, whose last bit may round the other way.
  const double some = precision == Precision::bf16 && n.time > n.frames ? 1e-4 : 0;
  const auto expect_nearly = [&](const Tensor& actual, const Tensor& expected, const char* what) {
    if (some == 0) return expect_near(actual, expected, what);
    EXPECT_LT(relative_error(actual, expected), some) << what;
  };
  expect_nearly(given.of_context, before[1] + of_frames.matmul(read(layer.cond_weight)), "context");
  expect_nearly(given.of_conditioning, before[2] + summed(of_frames, read(context)), "conditioning");
  EXPECT_EQ(residual, given.of.out_weight.size(0) - n.outputs);
}

TEST_P(WaveNetLayerTest, GivesTheSameBitsWithAnyNumberOfThreads) {
  const int usual = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto one = run().all();
  for (const int threads : {2, 3}) {
    torch::set_num_threads(threads);
    EXPECT_TRUE(std::ranges::equal(run().all(), one, torch::equal)) << threads;
  }
  torch::set_num_threads(usual);
}

INSTANTIATE_TEST_SUITE_P(All, WaveNetLayerTest,
                         ::testing::Combine(::testing::Values(Precision::fp32, Precision::bf16),
                                            ::testing::ValuesIn(kCases)),
                         [](const auto& of) {
                           const auto& n = std::get<1>(of.param);
                           return std::string(cpu::name_of(std::get<0>(of.param))) + "_" + std::to_string(n.time) +
                                  "_rows_of_" + std::to_string(n.channels);
                         });

}  // namespace
}  // namespace melflow::models
