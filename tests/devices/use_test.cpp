// What is done with models that are trained, on another device than the CPU: spoken, scored, sampled.

#include <torch/torch.h>

#include "engine/eval/score.h"
#include "engine/flow/flow_pictures.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"
#include "engine/tensors.h"
#include "tests/devices/places.h"
#include "tests/engine/small_voice.h"
#include "tests/models/bijection_checks.h"

namespace melflow::engine {
namespace {

using melflow::testing::difference;
using melflow::testing::kPlaces;
using melflow::testing::Place;

class UseElsewhere : public ::testing::TestWithParam<Place> {
 protected:
  static FlowModel flow(const nlohmann::json& config) {
    torch::manual_seed(4);
    FlowModel model{.name = "test", .config = resolved_flow_config(config, "test"), .card = {}, .flow = nullptr};
    model.flow = build_flow(model.config, "test");
    model.flow->eval();
    melflow::testing::shake(*model.flow, 0.1);
    return model;
  }
};

TEST_P(UseElsewhere, AWaveGlowSpeaksAndScoresAsOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  const auto voice = melflow::testing::small_voice();
  const auto mel = melflow::testing::small_mel(5);
  const auto expected = synthesizer_of(voice, {})(mel, Noise(3));
  const auto x = vector_tensor(expected.samples).unsqueeze(0), frames = mel_tensor(mel);
  const auto score_here = score(*voice.model, x, frames);
  voice.model->to(device);
  const auto actual = synthesizer_of(voice, {})(mel, Noise(3));
  EXPECT_LT(difference(vector_tensor(actual.samples), vector_tensor(expected.samples)), 1e-5);
  EXPECT_NEAR(score(*voice.model, x, frames).nats_per_sample, score_here.nats_per_sample, 1e-5);
}

TEST_P(UseElsewhere, AFlowIsScoredAndSampledAsOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  for (const char* system : {"maf", "iaf", "real_nvp", "nsf", "planar"}) {
    const auto model = flow({{"system", system}, {"channels", 2}, {"layers", 2}});
    const auto data = load_flow_data({.path = "banana", .labels = {}, .label_column = {}});
    const auto here = score_flow(model, data, 200, 1);
    const auto drawn = sample_flow(model, 0, 50, {});
    const auto kl = score_energy(model, *find_energy("u1"), 200, 1).kl.mean;
    model.flow->to(device);
    EXPECT_NEAR(score_flow(model, data, 200, 1).nats.mean, here.nats.mean, 1e-5) << system;
    EXPECT_LT(difference(sample_flow(model, 0, 50, {}), drawn), 1e-4) << system;
    EXPECT_NEAR(score_energy(model, *find_energy("u1"), 200, 1).kl.mean, kl, 1e-4) << system;
  }
}

/// Of the bytes of two pictures, how many are not the same, but for a shade.
size_t other_pixels(const files::Image& a, const files::Image& b) {
  if (a.pixels.size() != b.pixels.size()) return a.pixels.size();
  size_t count = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) count += std::abs(a.pixels[i] - b.pixels[i]) > 2 ? 1 : 0;
  return count;
}

TEST_P(UseElsewhere, AFlowIsDrawnAsOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  const auto model = flow({{"system", "maf"}, {"channels", 2}, {"layers", 2}});
  const auto data = load_flow_data({.path = "banana", .labels = {}, .label_column = {}});
  const auto samples = picture_samples(model, data, 200, 1), density = picture_density(model, data),
             grid = picture_grid(model, data);
  model.flow->to(device);
  EXPECT_LT(other_pixels(picture_samples(model, data, 200, 1), samples), samples.pixels.size() / 1000);
  EXPECT_LT(other_pixels(picture_density(model, data), density), density.pixels.size() / 1000);
  EXPECT_LT(other_pixels(picture_grid(model, data), grid), grid.pixels.size() / 1000);
}

TEST_P(UseElsewhere, ImagesAreSampledAndLieBetweenAsOnTheCpu) {
  OPEN_OR_SKIP(device, GetParam());
  const auto model = flow({{"system", "glow"},
                           {"channels", 1},
                           {"height", 4},
                           {"width", 4},
                           {"context", 3},
                           {"steps", 2},
                           {"hidden", 8},
                           {"pixel_levels", 17}});
  const auto drawn = sample_flow(model, 0, 4, {.label = 1});
  const FlowBatch ends{.x = drawn.narrow(0, 0, 2), .labels = torch::tensor({0, 2}, torch::kInt64)};
  const auto between = interpolate(model, ends, 3);
  model.flow->to(device);
  EXPECT_LT(difference(sample_flow(model, 0, 4, {.label = 1}), drawn), 1e-3);
  EXPECT_LT(difference(interpolate(model, ends, 3), between), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(All, UseElsewhere, ::testing::ValuesIn(kPlaces), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace melflow::engine
