// Every model on another device than the CPU computes what it computes on the CPU, and with nothing that lies
// elsewhere.

#include <tuple>

#include <torch/torch.h>

#include "models/flow/flow.h"
#include "models/waveglow.h"
#include "tests/devices/places.h"
#include "tests/models/bijection_checks.h"
#include "tests/models/flow_family.h"
#include "tests/models/small_block_flow.h"

namespace melflow::models {
namespace {

using melflow::testing::difference;
using melflow::testing::kPlaces;
using melflow::testing::Place;
using melflow::testing::shake;

/// What a model makes of x: forward, back again, and the gradients of its likelihood.
std::vector<torch::Tensor> all_of(Bijection& model, const torch::Tensor& x, const torch::Tensor& context) {
  model.zero_grad();
  const auto z = model.forward(x, context);
  (z.value.square().sum() / 2 - z.log_det.sum()).backward();
  std::vector<torch::Tensor> out{z.value, z.log_det};
  for (const auto& p : model.parameters()) out.push_back(p.grad().defined() ? p.grad().clone() : torch::zeros({1}));
  const auto with_graph = model.inverse(z.value.detach(), context);
  torch::NoGradGuard no_grad;
  const auto back = model.inverse(z.value, context), again = model.forward(x, context);
  out.insert(out.end(), {with_graph.value, back.value, back.log_det, again.value, again.log_det});
  return out;
}

/// In double, where the CPU's own quick paths and the plain formulas are alike to the last digits.
void expect_same(Bijection& model, const torch::Device& device, torch::Tensor x, torch::Tensor context,
                 double tolerance = 1e-9) {
  model.to(torch::kFloat64);
  x = x.to(torch::kFloat64);
  if (context.defined()) context = context.to(torch::kFloat64);
  const auto expected = all_of(model, x, context);
  model.to(device);
  const auto actual = all_of(model, x.to(device), context.defined() ? context.to(device) : context);
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_LT(difference(actual[i], expected[i]), tolerance) << "result " << i << " of " << actual.size();
  }
  EXPECT_EQ(actual.front().device(), device);
}

class FlowsElsewhere : public ::testing::TestWithParam<std::tuple<Member, Place>> {
 protected:
  static std::shared_ptr<Bijection> ready(const FlowShape& shape) {
    auto flow = std::get<Member>(GetParam()).recipe.make(shape);
    flow->eval();
    shake(*flow, 0.1);
    return flow;
  }
};

TEST_P(FlowsElsewhere, ComputeWhatTheyComputeOnTheCpu) {
  OPEN_OR_SKIP(device, std::get<Place>(GetParam()));
  const FlowShape rows{.channels = 3};
  expect_same(*ready(rows), device, torch::randn({5, 3}), {});
  const FlowShape told{.channels = 3, .context = 2};
  expect_same(*ready(told), device, torch::randn({5, 3}), torch::randn({5, 2}));
  if (!std::get<Member>(GetParam()).images) return;
  const FlowShape images{.channels = 1, .height = 4, .width = 8, .context = 2};
  expect_same(*ready(images), device, torch::randn({2, 1, 4, 8}), torch::randn({2, 2}));
}

TEST_P(FlowsElsewhere, BeginFromDataAndDrawWithTheirDensity) {
  OPEN_OR_SKIP(device, std::get<Place>(GetParam()));
  const FlowShape shape{.channels = 3};
  Flow flow(shape, std::get<Member>(GetParam()).recipe.make(shape));
  flow.to(device);
  flow.train();
  torch::NoGradGuard no_grad;
  flow.log_prob((torch::randn({64, 3}) * 2 + 1).to(device));
  flow.eval();
  const auto drawn = flow.draw(torch::randn({20, 3}).to(device));
  EXPECT_EQ(drawn.x.device(), device);
  EXPECT_LT(difference(flow.log_prob(drawn.x), drawn.log_prob), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(All, FlowsElsewhere,
                         ::testing::Combine(::testing::ValuesIn(kFamily), ::testing::ValuesIn(kPlaces)),
                         [](const auto& tested) {
                           return std::get<Member>(tested.param).name + name_of(std::get<Place>(tested.param));
                         });

class VocodersElsewhere : public ::testing::TestWithParam<Place> {
 protected:
  static WaveGlowOptions small() {
    return {.n_mels = 6,
            .hop_length = 16,
            .n_flows = 4,
            .group_size = 8,
            .early_every = 2,
            .early_size = 2,
            .upsample_kernel = 48,
            .wavenet_layers = 2,
            .wavenet_channels = 6};
  }
};

TEST_P(VocodersElsewhere, WaveGlowComputesWhatItComputesOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  for (const auto conditioning : {Conditioning::sample_rate, Conditioning::frame_rate}) {
    for (const bool reversible : {false, true}) {
      auto options = small();
      options.conditioning = conditioning;
      options.context_channels = 8;
      WaveGlow model(options);
      shake(model, 0.05);
      model.set_reversible(reversible);
      expect_same(model, device, torch::randn({2, 48}), torch::randn({2, 6, 3}));
    }
  }
}

TEST_P(VocodersElsewhere, BlockFlowComputesWhatItComputesOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  expect_same(*melflow::testing::small_block_flow(), device, torch::randn({2, 48}), torch::randn({2, 6, 3}) + 6, 1e-7);
}

INSTANTIATE_TEST_SUITE_P(All, VocodersElsewhere, ::testing::ValuesIn(kPlaces), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace melflow::models
