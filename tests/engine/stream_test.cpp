#include "engine/synth/stream.h"

#include <limits>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "audio/mel.h"
#include "engine/kernels/linear.h"
#include "engine/tensors.h"
#include "models/block_flow.h"
#include "tests/engine/small_block_voice.h"
#include "tests/engine/small_voice.h"

namespace melflow::engine {
namespace {

using melflow::testing::block_flow;
using melflow::testing::frames_of;
using melflow::testing::small_mel;
using melflow::testing::small_voice;

std::vector<float> stream(const StreamSource& source, const audio::Mel& mel, const std::vector<int>& chunks,
                          const Noise& noise = Noise(8)) {
  const auto frames = frames_of(mel);
  const auto stream = source.open(noise, 0.8);
  std::vector<float> out;
  size_t at = 0;
  for (size_t i = 0; at < frames.size(); ++i) {
    const auto n = std::min(frames.size() - at, static_cast<size_t>(chunks[i % chunks.size()] * mel.n_mels));
    stream->add(std::span(frames).subspan(at, n), out);
    at += n;
  }
  stream->finish(out);
  return out;
}

/// What PackedLinear makes of the layer's weights and x.
torch::Tensor packed_product(torch::nn::Linear linear, const torch::Tensor& x, cpu::Level level) {
  const auto outputs = static_cast<int>(linear->weight.size(0)), inputs = static_cast<int>(linear->weight.size(1));
  const PackedLinear packed(tensor_vector(linear->weight), tensor_vector(linear->bias), inputs, outputs, level);
  std::vector<float> y(static_cast<size_t>(outputs));
  packed(tensor_vector(x), y);
  return vector_tensor(y);
}

class PackedLinearAt : public ::testing::TestWithParam<cpu::Level> {
 protected:
  void SetUp() override {
    if (!cpu::has(GetParam())) GTEST_SKIP() << "this machine has no such instructions";
    torch::manual_seed(1);
  }
  static torch::Tensor product(torch::nn::Linear linear, const torch::Tensor& x) {
    return packed_product(linear, x, GetParam());
  }
};

TEST_P(PackedLinearAt, EqualsTorchLinear) {
  torch::NoGradGuard no_grad;
  for (const int outputs : {1, 63, 64, 128, 200}) {
    torch::nn::Linear linear(37, outputs);
    const auto x = torch::randn({37});
    EXPECT_LT((product(linear, x) - linear->forward(x)).abs().max().item<float>(), 1e-5);
    // Weights that are halves go another way, which must not lose any of them.
    linear->weight.copy_(linear->weight.to(torch::kHalf));
    EXPECT_LT((product(linear, x) - linear->forward(x)).abs().max().item<float>(), 1e-5);
    // As bytes the tiniest weights would make the bias infinite.
    linear->weight.fill_(std::numeric_limits<float>::min());
    linear->bias.fill_(10);
    EXPECT_TRUE(torch::equal(product(linear, x), linear->forward(x)));
    // One that is none must not be rounded.
    linear->weight.zero_();
    linear->weight[0][0] = 1.0f + 0x1p-20f;
    EXPECT_EQ(product(linear, torch::ones({37}))[0].item<float>(), 1.0f + 0x1p-20f + linear->bias[0].item<float>());
  }
}

TEST_P(PackedLinearAt, SumsBytesAsItSumsHalves) {
  torch::NoGradGuard no_grad;
  for (const int outputs : {1, 64, 130}) {
    torch::nn::Linear linear(37, outputs), halves(37, outputs + 1);
    const auto x = torch::randn({37});
    linear->weight.copy_(torch::randint(-127, 128, {outputs, 37}) * torch::exp2(torch::randint(-12, 3, {outputs, 1})));
    // One weight that is no such byte, in an output behind the others, sends all of them the way of halves.
    halves->weight.narrow(0, 0, outputs).copy_(linear->weight);
    halves->weight[outputs].fill_(1.0f + 0x1p-10f);
    halves->bias.narrow(0, 0, outputs).copy_(linear->bias);
    const auto sums = product(linear, x);
    // Where bytes are multiplied as such: FixedPointTest.*
    if (GetParam() != cpu::Level::v3_vnni && GetParam() != cpu::Level::v4_vnni) {
      EXPECT_TRUE(torch::equal(sums, product(halves, x).narrow(0, 0, outputs)));
    }
    EXPECT_LT((sums - linear->forward(x)).abs().max().item<float>(), 1e-5 * 512);
  }
}

std::string level_name(const ::testing::TestParamInfo<cpu::Level>& of) {
  constexpr const char* kNames[] = {"any", "v3", "v3_vnni", "v4", "v4_vnni"};
  return kNames[static_cast<int>(of.param)];
}
INSTANTIATE_TEST_SUITE_P(Levels, PackedLinearAt,
                         ::testing::Values(cpu::Level::any, cpu::Level::v3, cpu::Level::v3_vnni, cpu::Level::v4,
                                           cpu::Level::v4_vnni),
                         level_name);

class BlockStreamAt : public ::testing::TestWithParam<int64_t> {};

TEST_P(BlockStreamAt, EqualsTheModelsInverse) {
  const auto hop = GetParam();
  const auto model = block_flow(hop);
  const auto source = stream_source(model);
  model->to(torch::kFloat64);
  for (const int frames : {1, 2, 3, 12}) {
    const auto mel = small_mel(frames);
    const auto samples = stream(*source, mel, {frames});
    ASSERT_EQ(samples.size(), static_cast<size_t>(frames * hop));
    torch::InferenceMode guard;
    const auto z = noise_tensor(Noise(8), 64, 0, frames * hop / 64) * 0.8;
    const auto expected = model->inverse(z.to(torch::kFloat64), mel_tensor(mel).to(torch::kFloat64)).value[0];
    const auto error = (vector_tensor(samples).to(torch::kFloat64) - expected).abs().max() / expected.abs().max();
    EXPECT_LT(error.item<double>(), 2e-4) << frames << " frames";
  }
}

INSTANTIATE_TEST_SUITE_P(Hops, BlockStreamAt, ::testing::Values(64, 128, 256, 512, 1024),
                         ::testing::PrintToStringParamName());

TEST(BlockStream, TakesTheDrawsThatTheModelTakes) {
  const auto model = block_flow();
  const auto source = stream_source(model);
  model->to(torch::kFloat64);
  const auto mel = small_mel(12);
  const auto noise = Noise(8).best_of(5).noting();
  const auto samples = stream(*source, mel, {12}, noise);
  torch::InferenceMode guard;
  const auto mel64 = mel_tensor(mel).to(torch::kFloat64);
  const auto z = noise_tensor(Noise(8), 5 * 64, 0, 12 * 4).to(torch::kFloat64) * 0.8;
  const auto expected = model->inverse(z, mel64).value[0];
  const auto error = (vector_tensor(samples).to(torch::kFloat64) - expected).abs().max() / expected.abs().max();
  EXPECT_LT(error.item<double>(), 2e-4);
  const std::set<uint8_t> taken(noise.taken().begin(), noise.taken().end());
  EXPECT_GT(taken.size(), 2u);  // otherwise nothing was chosen
  // The best draw fits the mel better than the first would have.
  const auto first = model->inverse(z.narrow(1, 0, 64), mel64).value[0];
  EXPECT_GT((expected - first).abs().max().item<double>(), 1e-3);
}

TEST(BlockStream, IsNoLouderThanItsFilterSees) {
  const auto model = block_flow();
  const auto source = stream_source(model);
  const auto mel = small_mel(12);
  constexpr double kSigma = 100;
  const auto frames = frames_of(mel);
  const auto wild = source->open(Noise(8), kSigma);
  std::vector<float> samples;
  wild->add(frames, samples);
  wild->finish(samples);
  const auto m = mel_tensor(mel)[0];
  const double gain = (2 * m).exp().mean(0).add(models::BlockFlow::kLevelFloor).sqrt().max().item<double>();
  const double limit = models::BlockFlow::kFilterLimit * gain;
  const auto x = vector_tensor(samples);
  EXPECT_LE(x.abs().max().item<double>(), 1.0001 * limit);
  torch::InferenceMode guard;
  const auto z = noise_tensor(Noise(8), 64, 0, 12 * 4) * kSigma;
  EXPECT_GT(model->inverse(z, mel_tensor(mel)).value.abs().max().item<double>(), 2 * limit);  // otherwise nothing was
  // It is a sound of the model's like any other: there is a noise that makes it.
  const auto again = model->inverse(model->forward(x.unsqueeze(0), mel_tensor(mel)).value, mel_tensor(mel)).value[0];
  EXPECT_LT((again - x).abs().max().item<double>(), 1e-3 * limit);
}

/// What was loud is cut down in the filter's view once the mel says that all is quiet.
TEST(BlockStream, EqualsTheModelsInverseBehindALoudSound) {
  const auto model = block_flow();
  const auto source = stream_source(model);
  model->to(torch::kFloat64);
  auto mel = small_mel(16);
  for (int m = 0; m < 8; ++m) {
    for (int t = 8; t < 16; ++t) mel.values[static_cast<size_t>(m * 16 + t)] -= 8;
  }
  const auto samples = stream(*source, mel, {16});
  torch::InferenceMode guard;
  const auto z = noise_tensor(Noise(8), 64, 0, 16 * 4) * 0.8;
  const auto expected = model->inverse(z.to(torch::kFloat64), mel_tensor(mel).to(torch::kFloat64)).value[0];
  const auto quiet = expected.slice(0, 10 * 256), error = (vector_tensor(samples).to(torch::kFloat64) - expected).abs();
  EXPECT_LT((error.slice(0, 10 * 256).max() / quiet.abs().max()).item<double>(), 1e-2);
}

TEST(BlockStream, OptionsNameEveryTensorOfTheModel) {
  const auto model = block_flow();
  const auto shapes = model->options().tensors();
  EXPECT_NO_THROW(require_tensors(tensors_of(*model).views(), shapes, "model"));
  int64_t trained = 0;
  for (const auto& [name, shape] : shapes) trained += shape.trained;
  EXPECT_EQ(trained, static_cast<int64_t>(model->named_parameters().size()));
}

class StreamEqualsOffline : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<models::Vocoder> model() const {
    return GetParam() == "block_flow" ? std::static_pointer_cast<models::Vocoder>(block_flow()) : small_voice().model;
  }
};

TEST_P(StreamEqualsOffline, BitForBitHoweverTheFramesAreCut) {
  const auto source = stream_source(model());
  std::mt19937 random(5);
  for (const int frames : {1, 2, 3, 40, 700}) {
    const auto mel = small_mel(frames);
    const auto offline = stream(*source, mel, {frames});
    ASSERT_EQ(offline.size(), static_cast<size_t>(frames) * 256);
    const int trials = frames < 100 ? 40 : 4;
    for (int trial = 0; trial < trials; ++trial) {
      std::vector<int> chunks(20);
      for (int& n : chunks) n = std::uniform_int_distribution(1, std::max(1, frames))(random);
      if (trial == 0) chunks = {1};
      EXPECT_EQ(stream(*source, mel, chunks), offline) << frames << " frames, trial " << trial;
    }
  }
}

TEST_P(StreamEqualsOffline, NothingComesFromNothing) {
  const auto stream = stream_source(model())->open(Noise(1), 1.0);
  std::vector<float> out;
  stream->add({}, out);
  stream->finish(out);
  EXPECT_TRUE(out.empty());
}

INSTANTIATE_TEST_SUITE_P(Models, StreamEqualsOffline, ::testing::Values("block_flow", "waveglow"),
                         [](const auto& of) { return of.param; });

TEST(BlockStream, SpeaksSixFramesAfterTheFirst) {
  const auto model = block_flow();
  const auto source = stream_source(model);
  const auto frames = frames_of(small_mel(10));
  const auto stream = source->open(Noise(1), 1.0);
  std::vector<float> out;
  for (size_t t = 0; t < 10; ++t) {
    stream->add(std::span(frames).subspan(t * 8, 8), out);
    // Frame t lets block frame t - lookahead out.
    const auto lookahead = static_cast<size_t>(model->reach().lookahead_frames);
    EXPECT_EQ(out.size(), t < lookahead ? 0 : (t - lookahead + 1) * 256);
  }
}

}  // namespace
}  // namespace melflow::engine
