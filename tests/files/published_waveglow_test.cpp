#include "engine/files/published_waveglow.h"

#include <cmath>

#include "tests/files/checkpoints.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using namespace melflow::testing;

std::vector<float> values(const TensorView& view) { return as_float32(view, "x"); }

/// g·v/‖v‖ of a weight-normed convolution, row by row.
std::vector<float> effective(const PublishedWaveGlow& model, const std::string& layer) {
  const auto g = values(model.tensors.at(layer + ".weight_g"));
  auto v = values(model.tensors.at(layer + ".weight_v"));
  const size_t row = v.size() / g.size();
  for (size_t r = 0; r < g.size(); ++r) {
    double sum = 0;
    for (size_t i = 0; i < row; ++i) sum += static_cast<double>(v[r * row + i]) * v[r * row + i];
    for (size_t i = 0; i < row; ++i) v[r * row + i] = static_cast<float>(v[r * row + i] * (g[r] / std::sqrt(sum)));
  }
  return v;
}

/// The largest difference of what the two models compute with.
double difference(const PublishedWaveGlow& a, const PublishedWaveGlow& b) {
  double most = 0;
  EXPECT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [key, view] : a.tensors) {
    if (!b.tensors.contains(key)) ADD_FAILURE() << key;
    if (!b.tensors.contains(key) || key.ends_with(".weight_g")) continue;
    EXPECT_EQ(view.shape, b.tensors.at(key).shape) << key;
    const bool normed = key.ends_with(".weight_v");
    const auto layer = key.substr(0, key.rfind('.'));
    const auto x = normed ? effective(a, layer) : values(view);
    const auto y = normed ? effective(b, layer) : values(b.tensors.at(key));
    for (size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(static_cast<double>(x[i]) - y[i]));
  }
  return most;
}

struct Opened {
  explicit Opened(const std::filesystem::path& path)
      : file(path), model(read_published_waveglow(file.content(), path.string())) {}
  CheckpointFile file;
  PublishedWaveGlow model;
};

class Layouts : public ::testing::TestWithParam<std::pair<const char*, double>> {};

TEST_P(Layouts, HoldTheSameModel) {
  REQUIRE_SHARED("reference/waveglow/tiny");
  const auto [file, tolerance] = GetParam();
  const Opened want(shared("reference/waveglow/tiny/state_dict.safetensors"));
  const Opened got(shared("reference/waveglow/tiny") / file);
  EXPECT_LE(difference(want.model, got.model), tolerance);
  EXPECT_EQ(got.model.n_flows, 12);
  EXPECT_EQ(got.model.hop_length, 256);
  EXPECT_EQ(got.model.early_every, 4);
  EXPECT_EQ(got.model.wavenet_channels, 16);
  EXPECT_FALSE(got.model.swap_odd_halves);
}

// Half precision is off by its rounding: 2^-11 of numbers below 2.
INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         ::testing::Values(std::pair{"nvidia_module_legacy.pt", 0.0},
                                           std::pair{"nvidia_module_zip.pt", 0.0},
                                           std::pair{"state_dict_legacy.pt", 0.0}, std::pair{"joc_ddp_legacy.pt", 0.0},
                                           std::pair{"parametrized_zip.pt", 0.0},
                                           std::pair{"weight_norm_removed_zip.pt", 3e-7},
                                           std::pair{"state_dict_half_zip.pt", 2e-3}));

TEST(PublishedWaveGlow, KnowsTheFirstRelease) {
  REQUIRE_SHARED("reference/waveglow/tiny_2018");
  const Opened old(shared("reference/waveglow/tiny_2018/nvidia_module_legacy.pt"));
  EXPECT_TRUE(old.model.swap_odd_halves);
  EXPECT_NE(old.model.layout.find("2018"), std::string::npos) << old.model.layout;
}

TEST(PublishedWaveGlow, OpensTheSmallOnesInTheTree) {
  for (const std::string name : {"zip", "legacy", "removed_half", "nemo", "nemo_gz"}) {
    const Opened small(in_tree("tests/fuzz/corpus/checkpoint") / name);
    EXPECT_EQ(small.model.n_flows, 2) << name;
    EXPECT_EQ(small.model.n_mels, 1) << name;
    EXPECT_EQ(small.model.wavenet_layers, 1) << name;
    EXPECT_EQ(small.model.tensors.at("flows_1_conv1x1.weight").shape, (std::vector<int64_t>{2, 2})) << name;
    EXPECT_EQ(effective(small.model, "flows_0_coupling.net.start"), (std::vector<float>{1})) << name;
  }
  EXPECT_EQ(Opened(in_tree("tests/fuzz/corpus/checkpoint/nemo")).model.recipe.at("sample_rate"), "22050");
}

/// The smallest of the tree with one thing changed.
void refused(const std::function<void(Checkpoint&)>& change, const std::string& why) {
  const MappedFile file(in_tree("tests/fuzz/corpus/checkpoint/zip"));
  auto checkpoint = parse_checkpoint(file.bytes(), "x.pt");
  change(checkpoint);
  expect_refused([&] { read_published_waveglow(checkpoint, "x.pt"); }, Exit::bad_data, "x.pt", why);
}

TEST(PublishedWaveGlow, RefusesWhatDoesNotFitByName) {
  refused([](auto& c) { c.tensors.erase("convinv.0.conv.weight"); }, "not a WaveGlow");
  refused([](auto& c) { c.tensors.erase("WN.1.end.bias"); }, "'WN.1.end.bias' is missing");
  refused([](auto& c) { c.tensors["WN.0.extra"] = c.tensors["WN.0.end.bias"]; }, "'WN.0.extra' belongs to no");
  refused([](auto& c) { c.tensors["WN.1.start.bias"] = c.tensors["WN.1.end.bias"]; }, "has shape [2], not [1]");
  refused([](auto& c) { c.facts["config.n_flows"] = "12"; }, "configuration says n_flows = 12");
  static const float kBad[1] = {NAN};
  refused(
      [](auto& c) {
        c.tensors["upsample.bias"] = strided({Dtype::f32, {1}, std::as_bytes(std::span(kBad))});
      },
      "'upsample.bias' holds NaN");
  static const float kOne[1] = {1};
  refused(
      [](auto& c) {
        c.tensors["convinv.1.conv.weight"] = strided({Dtype::f32, {1, 1, 1}, std::as_bytes(std::span(kOne))});
      },
      "less than two channels");
}

TEST(PublishedWaveGlow, GoesBackToNvidiasNames) {
  const Opened small(in_tree("tests/fuzz/corpus/checkpoint/zip"));
  const auto back = nvidia_state_dict(small.model.tensors);
  const auto& want = small.file.content().tensors;
  ASSERT_EQ(back.size(), want.size());
  for (const auto& [key, tensor] : want) {
    ASSERT_TRUE(back.contains(key)) << key;
    EXPECT_EQ(back.at(key).shape, tensor.shape) << key;
  }
}

TEST(PublishedWaveGlow, ARowOfZerosStaysZero) {
  const MappedFile file(in_tree("tests/fuzz/corpus/checkpoint/removed_half"));
  auto checkpoint = parse_checkpoint(file.bytes(), "x.pt");
  static const float kZero[1] = {0};
  checkpoint.tensors["WN.0.start.weight"] = strided({Dtype::f32, {1, 1, 1}, std::as_bytes(std::span(kZero))});
  const auto model = read_published_waveglow(checkpoint, "x.pt");
  EXPECT_EQ(effective(model, "flows_0_coupling.net.start"), (std::vector<float>{0}));
}

}  // namespace
}  // namespace melflow::files
