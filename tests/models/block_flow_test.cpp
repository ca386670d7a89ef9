#include "models/block_flow.h"

#include "tests/models/small_block_flow.h"

namespace melflow::models {
namespace {

using melflow::testing::expect_bijection;
using melflow::testing::small_block_flow;
using melflow::testing::small_block_flow_options;

class BlockFlowTest : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(11); }
};

/// A mel beside which torch::randn is not too loud to be believed.
torch::Tensor loud_mel(int64_t batch, int64_t frames) { return torch::randn({batch, 6, frames}) + 6; }

/// How much each block of z [blocks] hears of the network.
torch::Tensor network_heard(BlockFlow& flow, const torch::Tensor& x, const torch::Tensor& mel) {
  torch::NoGradGuard no_grad;
  const auto before = flow.forward(x, mel).value;
  flow.named_parameters()["out.bias"].add_(1e-3);
  const auto after = flow.forward(x, mel).value;
  flow.named_parameters()["out.bias"].sub_(1e-3);
  return (after - before).abs().amax(1).squeeze(0);
}

TEST_F(BlockFlowTest, IsABijection) {
  expect_bijection(*small_block_flow(), torch::randn({2, 48}), loud_mel(2, 3), 1e-7);
}

/// A past that the mel allows, one that it hardly allows, and one that it does not: then nothing but the first block,
/// which has none, hears the network.
TEST_F(BlockFlowTest, IsABijectionHoweverLoudThePast) {
  const auto x = torch::randn({1, 32}), mel = loud_mel(1, 2);
  const auto flow = small_block_flow();
  flow->to(torch::kFloat64);
  int whole = 0, some = 0, none = 0;
  for (const double loud : {1.0, 4.2, 4.6, 5.0, 6.0, 1e4}) {
    const auto said = (loud * x).to(torch::kFloat64);
    expect_bijection(*flow, said, mel, 1e-6 * loud);
    const auto heard = network_heard(*flow, said, mel.to(torch::kFloat64));
    const double share = (heard[3] / heard[0]).item<double>();
    EXPECT_GT(heard[0].item<double>(), 0);
    ++(share > 0.9 ? whole : share > 0 ? some : none);
  }
  EXPECT_TRUE(whole > 0 && some > 0 && none > 0);
}

/// Recordings are believed with their own mels, whatever the hop.
TEST_F(BlockFlowTest, BelievesWhatTheMelSaysAtAnyHop) {
  constexpr int64_t kBins = BlockFlow::kFft / 2 + 1;
  for (const int64_t hop : {64, 256, 512, 640, 1024}) {
    auto options = small_block_flow_options();
    options.n_mels = kBins;
    options.hop_length = hop;
    options.group_size = 64;
    options.past = hop * std::max<int64_t>(640 / hop, 1);
    options.lags = 24;
    BlockFlow flow(options);
    flow.set_filterbank(torch::eye(kBins));
    melflow::testing::shake(flow, 0.01);
    flow.eval();
    auto x = 0.1 * torch::randn({1, 15360});
    x.slice(1, 5000, 7000).mul_(30);  // and a burst of noise
    const auto mel = torch::stft(x, BlockFlow::kFft, hop, BlockFlow::kFft, torch::hann_window(BlockFlow::kFft), true,
                                 "reflect", false, std::nullopt, true)
                         .abs()
                         .clamp_min(1e-5)
                         .log();
    EXPECT_GT(network_heard(flow, x, mel).min().item<double>(), 0) << hop;
  }
}

/// The first guess continues 768 samples, so the middle of its window is 256 samples before the block, whatever the
/// hop.
TEST_F(BlockFlowTest, TheFirstGuessIsOfTheMelInTheMiddleOfItsWindow) {
  struct Case {
    int64_t hop, block;
    std::vector<int64_t> frames;  // that it lies between, then those that the block lies between
  };
  for (const auto& [hop, block, frames] : std::vector<Case>{{64, 7, {3, 7, 8}},
                                                            {128, 8, {2, 4, 5}},
                                                            {256, 9, {1, 2, 3}},
                                                            {512, 10, {0, 1, 2}},
                                                            {512, 13, {1, 2}},
                                                            {768, 14, {0, 1, 2}}}) {
    auto options = small_block_flow_options();
    options.hop_length = options.past = hop;
    options.group_size = 64;
    if (hop < 512) options.past = 512;
    options.lags = 24;
    BlockFlow flow(options);
    flow.set_filterbank(torch::rand({6, BlockFlow::kFft / 2 + 1}));
    melflow::testing::shake(flow, 0.05);
    flow.eval();
    {
      torch::NoGradGuard no_grad;
      auto parameters = flow.named_parameters();
      for (auto& parameter : parameters) {  // nothing is learned from frames around
        if (parameter.key().starts_with("encoder_")) parameter.value().zero_();
      }
      auto& network = parameters["past.weight"];  // which sees nothing but the first guess
      const auto first = 2 * options.past + 2 * options.group_size;
      network.slice(1, 0, first).zero_();
      network.slice(1, first + options.group_size).zero_();
    }
    const auto mel = loud_mel(1, 9).requires_grad_(true);
    const auto z = flow.forward(0.1 * torch::randn({1, 9 * hop}), mel).value;  // a past that is believed
    const auto heard = torch::autograd::grad({z.select(2, block).square().sum()}, {mel})[0].abs().amax(1).squeeze(0);
    std::vector<int64_t> found;
    for (int64_t frame = 0; frame < 9; ++frame) {
      if (heard[frame].item<double>() > 0) found.push_back(frame);
    }
    EXPECT_EQ(found, frames) << hop;
  }
}

TEST_F(BlockFlowTest, WorksWithoutAFilter) {
  auto options = small_block_flow_options();
  options.filter_taps = 1;
  const auto flow = std::make_shared<BlockFlow>(options);
  flow->set_filterbank(torch::rand({6, BlockFlow::kFft / 2 + 1}));
  expect_bijection(*flow, torch::randn({2, 48}), loud_mel(2, 3), 1e-7);
}

/// Behind a crop's warm-up nothing depends on what was invented before it.
TEST_F(BlockFlowTest, WarmsUpByAllThatItSees) {
  const auto flow = small_block_flow();
  EXPECT_GE(flow->warmup_frames() * flow->hop_length(), BlockFlowConstants::kInversionPast);
}

TEST_F(BlockFlowTest, WorksOnOneFrame) {
  expect_bijection(*small_block_flow(), torch::randn({1, 16}), loud_mel(1, 1), 1e-7);
}

TEST_F(BlockFlowTest, GrowsWithoutAnotherSound) {
  const auto flow = small_block_flow();
  auto options = small_block_flow_options();
  options.encoder_channels += 5;
  options.hidden = 17;
  options.layers = 3;
  auto grown = std::make_shared<BlockFlow>(options);
  grown->set_filterbank(torch::rand({6, BlockFlow::kFft / 2 + 1}));
  grown->named_buffers()["mel_to_magnitude"].copy_(flow->named_buffers()["mel_to_magnitude"]);
  grown->start_from(*flow);
  const auto x = torch::randn({2, 48}), mel = loud_mel(2, 3);
  grown->eval();
  const auto expected = flow->forward(x, mel), actual = grown->forward(x, mel);
  EXPECT_LT((actual.value - expected.value).abs().max().item<double>(), 1e-5);
  EXPECT_LT((actual.local - expected.local).abs().max().item<double>(), 1e-4);

  // What is new can be learned: a new unit hears the past, and its own weights move.
  grown->train();
  grown->forward(x, mel).value.square().sum().backward();
  const auto parameters = grown->named_parameters();
  EXPECT_GT(parameters["out.weight"].grad().slice(1, options.hidden - 1).abs().max().item<double>(), 0);
  EXPECT_GT(parameters["layer_2.weight"].grad().slice(0, 0, options.hidden).abs().max().item<double>(), 0);
  EXPECT_GT(parameters["cepstrum.weight"].grad().slice(1, options.encoder_channels - 1).abs().max().item<double>(), 0);

  EXPECT_THROW(flow->start_from(*grown), std::invalid_argument);  // models do not shrink
  options.lags = 20;
  EXPECT_THROW(BlockFlow(options).start_from(*flow), std::invalid_argument);
}

// Beyond what the filter sees of the past the map goes on, steeper, and stays one to one.
TEST_F(BlockFlowTest, IsABijectionFarBeyondTheGain) {
  auto x = torch::randn({2, 48});
  x[0] *= 300;
  x[1].slice(0, 20, 23) *= 1000;
  expect_bijection(*small_block_flow(), x, torch::randn({2, 6, 3}), 1e-6);
}

TEST_F(BlockFlowTest, LocalSharesSumToTheLogDeterminant) {
  const auto flow = small_block_flow();
  const auto out = flow->forward(torch::randn({2, 64}), loud_mel(2, 4));
  EXPECT_EQ(out.local.sizes(), torch::IntArrayRef({2, 8}));
  EXPECT_LT((out.local.sum(1) - out.log_det).abs().max().item<double>(), 1e-4);
}

TEST_F(BlockFlowTest, IsCausalInTheWaveform) {
  const auto flow = small_block_flow();
  const auto mel = loud_mel(1, 4);
  auto a = torch::randn({1, 64}), b = a.clone();
  b.slice(1, 40).add_(1.0);
  const auto za = flow->forward(a, mel).value, zb = flow->forward(b, mel).value;
  EXPECT_TRUE(torch::allclose(za.slice(2, 0, 5), zb.slice(2, 0, 5), 1e-5, 1e-5));
  EXPECT_GT((za.slice(2, 5) - zb.slice(2, 5)).abs().min().item<double>(), 0.0);
}

TEST_F(BlockFlowTest, SeesNoMelBeyondItsLookahead) {
  const auto flow = small_block_flow();
  const auto z = torch::randn({1, 8, 24});
  auto mel = torch::randn({1, 6, 12}), changed = mel.clone();
  const auto first = flow->reach().lookahead_frames + 3;  // frame 2 may see up to frame 2 + lookahead
  changed.slice(2, first).add_(2.0);
  const auto x = flow->inverse(z, mel).value, y = flow->inverse(z, changed).value;
  EXPECT_TRUE(torch::equal(x.slice(1, 0, 3 * 16), y.slice(1, 0, 3 * 16)));
  EXPECT_FALSE(torch::equal(x, y));
}

TEST_F(BlockFlowTest, LevelsCancel) {  // a mel k times as loud gives the same sound k times as loud
  auto flow = small_block_flow();
  flow->to(torch::kFloat64);
  const auto mel = torch::randn({1, 6, 4}, torch::kFloat64) + 6;  // far above the floors
  const auto z = torch::randn({1, 8, 8}, torch::kFloat64);
  const auto x = flow->inverse(z, mel).value, louder = flow->inverse(z, mel + std::log(2.0)).value;
  EXPECT_LT((louder - 2 * x).abs().max().item<double>() / x.abs().max().item<double>(), 1e-4);
}

TEST_F(BlockFlowTest, RefusesSizesThatCannotBe) {
  auto options = small_block_flow_options();
  options.group_size = 7;
  EXPECT_THROW(BlockFlow{options}, std::invalid_argument);
  options = small_block_flow_options();
  options.hop_length = options.past = 1032;  // longer than a window
  EXPECT_THROW(BlockFlow{options}, std::invalid_argument);
  options = small_block_flow_options();
  options.lags = 40;
  EXPECT_THROW(BlockFlow{options}, std::invalid_argument);
  EXPECT_THROW(BlockFlow(small_block_flow_options()).set_filterbank(torch::rand({6, 100})), c10::Error);
}

}  // namespace
}  // namespace melflow::models
