// What a block voice does on a mel that is like nothing it was trained on: its filter and network say what they like,
// and the sound must stay near the mel's loudness.

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "engine/synth/stream.h"
#include "engine/tensors.h"
#include "tests/engine/small_block_voice.h"
#include "tests/engine/small_voice.h"

namespace melflow::engine {
namespace {

using melflow::testing::block_flow;
using melflow::testing::frames_of;
using melflow::testing::small_mel;

/// block_flow() whose filter and network err by as much as that, and its level by a factor of e^level.
std::shared_ptr<models::BlockFlow> wild_block_flow(double filter, double network, double level = 0) {
  const auto model = block_flow();
  torch::NoGradGuard no_grad;
  for (auto& p : model->named_parameters()) {
    if (p.key().starts_with("cepstrum.")) p.value().mul_(filter);
    if (p.key().starts_with("out.")) p.value().mul_(network);
    if (p.key() == "cepstrum.bias") p.value()[0] += level;
  }
  return model;
}

std::vector<float> spoken(const std::shared_ptr<models::BlockFlow>& model, const audio::Mel& mel, const Noise& noise) {
  const auto stream = stream_source(model)->open(noise, 0.8);
  std::vector<float> out;
  stream->add(frames_of(mel), out);
  stream->finish(out);
  return out;
}

/// Root mean square of a sound of this mel.
double loudness(const models::BlockFlow& model, const audio::Mel& mel) {
  const auto inverse = model.named_buffers()["mel_to_magnitude"];
  const auto magnitude = torch::matmul(mel_tensor(mel)[0].t().exp(), inverse);
  return (magnitude.square().mean() / torch::hann_window(models::BlockFlow::kFft).square().sum()).sqrt().item<double>();
}

TEST(WildVoice, StaysNearTheMelsLoudness) {
  const auto mel = small_mel(60);
  for (const double filter : {1.0, 10.0, 40.0}) {
    for (const double network : {1.0, 20.0}) {
      const auto model = wild_block_flow(filter, network);
      const auto x = vector_tensor(spoken(model, mel, Noise(8)));
      const double times = x.square().mean().sqrt().item<double>() / loudness(*model, mel);
      EXPECT_LT(times, 6.5) << filter << " " << network;  // without limits up to 30
      EXPECT_GT(times, 0.3) << filter << " " << network;
    }
  }
}

TEST(WildVoice, AnImpulseDiesAwayInAnyFilter) {
  auto mel = small_mel(1);
  mel.frames = 40;
  std::vector<float> same;
  for (const float band : mel.values) same.insert(same.end(), 40, band);
  mel.values = same;
  torch::InferenceMode guard;
  for (const double filter : {1.0, 10.0, 20.0, 40.0, 100.0}) {
    const auto model = wild_block_flow(filter, 0);
    const double loud = loudness(*model, mel);
    model->to(torch::kFloat64);
    auto z = torch::zeros({1, 64, 160}, torch::kFloat64);
    z[0][0][0] = 1;
    const auto x = model->inverse(z, mel_tensor(mel).to(torch::kFloat64)).value.abs();
    EXPECT_LT((x.slice(1, 39 * 256).max() / x.max()).item<double>(), 1e-3) << filter;
    EXPECT_LT(x.max().item<double>(), 2 * loud) << filter;
  }
}

/// Few frames of wild ones: they double an error of rounding from block to block.
TEST(WildVoice, StreamsWhatTheModelSays) {
  struct Case {
    double filter, network, level;
    int frames;
  };
  for (const auto& c :
       {Case{10, 1, 0, 3}, {10, 20, 0, 3}, {1, 1, 2, 3}, {20, 0, 0, 2}, {40, 0, 0, 2}, {100, 0, 0, 1}}) {
    const auto mel = small_mel(c.frames);
    const auto model = wild_block_flow(c.filter, c.network, c.level);
    const auto samples = vector_tensor(spoken(model, mel, Noise(8))).to(torch::kFloat64);
    torch::InferenceMode guard;
    model->to(torch::kFloat64);
    const auto z = noise_tensor(Noise(8), 64, 0, c.frames * 4).to(torch::kFloat64) * 0.8;
    const auto expected = model->inverse(z, mel_tensor(mel).to(torch::kFloat64)).value[0];
    const double error = ((samples - expected).abs().max() / expected.abs().max()).item<double>();
    EXPECT_LT(error, 1e-3) << c.filter << " " << c.network;
  }
}

}  // namespace
}  // namespace melflow::engine
