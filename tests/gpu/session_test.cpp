// The whole inverse on a device, against the plain one in double, and against itself cut otherwise.

#include "engine/gpu/session.h"

#include <algorithm>

#include "engine/gpu/launch_shape.h"
#include "engine/gpu/open_gpu.h"
#include "engine/gpu/speak.h"
#include "tests/gpu/gpu_test.h"

namespace melflow::gpu {
namespace {

PlainWaveGlow::Sizes small() {
  return {.n_mels = 6,
          .hop_length = 32,
          .n_flows = 5,
          .group_size = 8,
          .early_every = 2,
          .early_size = 2,
          .upsample_kernel = 96,
          .layers = 3,
          .channels = 12};
}

struct Voice {
  const char* name;
  PlainWaveGlow::Sizes sizes;
};

/// One of each kind of thing that the kernels know.
std::vector<Voice> voices() {
  std::vector<Voice> out{{"published", small()}};
  const auto vary = [&](const char* name, auto&& change) {
    out.push_back({name, small()});
    change(out.back().sizes);
  };
  vary("kernel not whole hops", [](auto& s) { s.upsample_kernel = 70; });
  vary("kernel of one hop", [](auto& s) { s.upsample_kernel = 32; });
  vary("groups of two", [](auto& s) {
    s.group_size = 2;
    s.early_every = 9;
  });
  vary("groups of five", [](auto& s) {
    s.group_size = 5;
    s.hop_length = 35;
    s.early_size = 1;
  });
  vary("kernel five", [](auto& s) { s.kernel = 5; });
  vary("no neighbours", [](auto& s) { s.kernel = 1; });
  vary("dilations start again", [](auto& s) {
    s.layers = 5;
    s.dilation_cycle = 2;
  });
  vary("one layer", [](auto& s) { s.layers = 1; });
  vary("wider than a tile", [](auto& s) {
    s.channels = 136;
    s.n_flows = 1;
    s.n_mels = 20;
  });
  return out;
}

class Sessions : public ::testing::TestWithParam<Place> {};

TEST_P(Sessions, SpeakAsThePlainInverseInDouble) {
  OPEN_OR_SKIP(device, GetParam());
  for (const auto& [name, sizes] : voices()) {
    const auto plain = PlainWaveGlow::random(sizes, 11);
    const auto model = std::make_shared<DeviceWaveGlow>(device, plain);
    for (const int frames : {1, 2, 9}) {
      const auto u = utterance(sizes, frames, 5);
      const auto out = speak(model, {u}, {frames})[0];
      ASSERT_EQ(out.size(), static_cast<size_t>(frames * sizes.hop_length));
      EXPECT_GT(snr_db(out, plain.inverse(u.mel, u.z, 1)), 40) << name << ", " << frames << " frames";
    }
  }
}

/// A mel that differs from frame to frame by less than bfloat16 tells apart, and whose context is those differences
/// alone.
TEST_P(Sessions, HearWhatBfloat16LosesOfAMel) {
  OPEN_OR_SKIP(device, GetParam());
  auto plain = PlainWaveGlow::random(small(), 11);
  auto& weight = plain.upsample_weight;  // of the first band, then of the second: what they have in common is nothing
  const auto of_band = weight.size() / static_cast<size_t>(plain.sizes.n_mels);
  std::fill(weight.begin(), weight.end(), 0.0f);
  for (size_t i = 0; i < of_band; ++i) weight[i] = i % 3 == 0 ? 400.0f : -250.0f;
  for (size_t i = 0; i < of_band; ++i) weight[of_band + i] = -weight[i];
  auto u = utterance(plain.sizes, 9, 5);
  for (int t = 0; t < u.frames; ++t) {
    float* const bands = u.mel.data() + t * plain.sizes.n_mels;
    bands[0] = 1 + static_cast<float>(t % 4 - 2) / 1024;
    bands[1] = 1;
  }
  const auto out = speak(std::make_shared<DeviceWaveGlow>(device, plain), {u}, {u.frames})[0];
  EXPECT_GT(snr_db(out, plain.inverse(u.mel, u.z, 1)), 40);
}

/// Where the plain inverse has no number, there is none here either, so that whoever speaks can refuse it: a gate that
/// takes a NaN for its limit would make sound of it.
TEST_P(Sessions, WhatIsNoNumberStaysNone) {
  OPEN_OR_SKIP(device, GetParam());
  for (const bool in_start : {false, true}) {
    auto plain = PlainWaveGlow::random(small(), 11);
    (in_start ? plain.flows.back().start_weight : plain.flows.front().layers[1].in_weight)[0] = NAN;
    const auto u = utterance(plain.sizes, 9, 5);
    const auto out = speak(std::make_shared<DeviceWaveGlow>(device, plain), {u}, {u.frames})[0];
    const auto expected = plain.inverse(u.mel, u.z, 1);
    size_t none = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(std::isfinite(expected[i]) || !std::isfinite(out[i])) << i;
      none += !std::isfinite(expected[i]);
    }
    EXPECT_GT(none, 0u);
  }
}

TEST_P(Sessions, TheCutAndTheNeighboursAndTheTileChangeNotABit) {
  OPEN_OR_SKIP(device, GetParam());
  const auto sizes = small();
  const auto model = std::make_shared<DeviceWaveGlow>(device, PlainWaveGlow::random(sizes, 3));
  const std::vector<Utterance> all{utterance(sizes, 11, 1), utterance(sizes, 1, 2), utterance(sizes, 17, 3)};
  std::vector<std::vector<float>> alone;
  for (const auto& u : all) alone.push_back(speak(model, {u}, {u.frames})[0]);
  for (const auto shape : {TileShape::narrow, TileShape::medium, TileShape::wide}) {
    for (const auto& cut : {std::vector{1}, {7, 2, 11}, {32}}) {
      if (shape != TileShape::narrow && cut[0] == 1) continue;
      EXPECT_EQ(speak(model, all, cut, shape), alone) << name_of(shape) << " tile, passes of " << cut[0];
    }
  }
}

TEST_P(Sessions, ASlotServesOneStreamAfterAnother) {
  OPEN_OR_SKIP(device, GetParam());
  const auto sizes = small();
  const auto model = std::make_shared<DeviceWaveGlow>(device, PlainWaveGlow::random(sizes, 3));
  const auto first = utterance(sizes, 8, 1), second = utterance(sizes, 8, 2);
  const auto expected = speak(model, {second}, {8})[0];

  Session session(model, {.slots = 2, .frames = {8}});
  std::vector<float> mel(2 * first.mel.size()), z(2 * first.z.size()), samples(z.size()), out;
  const auto put = [&](const Utterance& u) {  // in the second slot; nobody uses the first
    std::copy(u.mel.begin(), u.mel.end(), mel.begin() + static_cast<ptrdiff_t>(u.mel.size()));
    std::copy(u.z.begin(), u.z.end(), z.begin() + static_cast<ptrdiff_t>(u.z.size()));
  };
  session.open(1);
  put(first);
  session.pass(8, mel, z, samples);  // broken off
  session.close(1);
  session.open(1);
  put(second);
  session.pass(8, mel, z, samples);
  session.end(1, 8);
  for (;; session.pass(8, mel, z, samples)) {
    const auto ready = session.ready(1);
    EXPECT_EQ(static_cast<size_t>(ready.from * sizes.group_size), out.size());
    const auto* from = samples.data() + samples.size() / 2 + ready.first * sizes.group_size;
    out.insert(out.end(), from, from + ready.count * sizes.group_size);
    if (out.size() == expected.size()) break;
  }
  EXPECT_EQ(out, expected);
  EXPECT_EQ(session.ready(0).count, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Sessions, places(), ::testing::PrintToStringParamName());

/// A chunk in many small blocks, ten seconds and batches in large ones: as many as an H200 has multiprocessors.
TEST(Tiles, AreTheWidestWhoseBlocksFillTheGpu) {
  for (const auto cores : {TensorCores::warps, TensorCores::warpgroups}) {
    const auto device = emulated_device({.tensor_cores = cores, .multiprocessors = 132});
    const auto columns_for = [&](int rows, int columns) {
      Product product{};
      product.rows.slots = 1;
      product.rows.count = rows;
      product.columns = columns;
      int chosen = 0;
      with_tile(TileShape::automatic, *device, product, [&](auto tile) { chosen = decltype(tile)::kColumns; });
      return chosen;
    };
    EXPECT_EQ(columns_for(1024, 512), NarrowTile::kColumns);
    EXPECT_EQ(columns_for(8448, 256), MediumTile::kColumns);
    EXPECT_EQ(columns_for(8448, 512), WideTile::kColumns);
  }
}

/// A GPU whose layers do nothing.
class DeafDevice : public Device {
 public:
  std::string name() const override { return "deaf"; }
  int multiprocessors() const override { return inner_->multiprocessors(); }
  int shared_bytes() const override { return inner_->shared_bytes(); }
  TensorCores tensor_cores() const override { return inner_->tensor_cores(); }
  void* allocate(size_t bytes) override { return inner_->allocate(bytes); }
  void release(void* memory) noexcept override { inner_->release(memory); }
  void upload(void* to, const void* from, size_t bytes) override { inner_->upload(to, from, bytes); }
  void download(void* to, const void* from, size_t bytes) override { inner_->download(to, from, bytes); }
  void wait() override { inner_->wait(); }
  void launch(const EnterArgs& args) override { inner_->launch(args); }
  void launch(const CoupleArgs& args) override { inner_->launch(args); }
  void launch(const ContextArgs& args, TileShape shape) override { inner_->launch(args, shape); }
  void launch(const GateArgs&, TileShape) override {}
  void launch(const OutputArgs& args, TileShape shape) override { inner_->launch(args, shape); }
  std::unique_ptr<Recording> record(const std::function<void()>& launches) override { return inner_->record(launches); }
  void replay(Recording& recording) override { inner_->replay(recording); }
  double seconds(const std::function<void()>& work) override { return inner_->seconds(work); }

 private:
  std::shared_ptr<Device> inner_ = emulated_device();
};

TEST(Gpu, IsAskedToSpeakBeforeItIsTrusted) {
  EXPECT_TRUE(speaks_right(emulated_device({.tensor_cores = TensorCores::warpgroups})));
  EXPECT_FALSE(speaks_right(std::make_shared<DeafDevice>()));
}

/// 99 KB is what all GPUs between the largest have: no wide tile fits, and a medium one not with the side's columns.
TEST(Gpu, OfLittleSharedMemoryTakesSmallerTiles) {
  for (const auto tensor_cores : {TensorCores::warps, TensorCores::warpgroups}) {
    EXPECT_TRUE(speaks_right(emulated_device({.tensor_cores = tensor_cores, .shared_bytes = 99 * 1024})));
  }
}

TEST(Session, RefusesWhatTheKernelsDoNotKnow) {
  auto sizes = small();
  sizes.group_size = 16;
  EXPECT_THROW(DeviceWaveGlow(emulated_device(), PlainWaveGlow::random(sizes, 1)), Error);
  sizes = small();
  sizes.upsample_kernel = 5 * sizes.hop_length;
  EXPECT_NE(DeviceWaveGlow::unsupported(sizes), "");
  EXPECT_EQ(DeviceWaveGlow::unsupported(small()), "");
}

TEST(PlainWaveGlow, CountsTheArithmeticOfThePaper) {
  const PlainWaveGlow::Sizes published;
  // 81.0 M multiplications for 8 samples, of which the upsampler, that is not counted there, takes 0.2 M.
  EXPECT_NEAR(published.flops_per_group() / 2, 81.2e6, 0.2e6);
  // A layer of 256 channels: 512 x (3·256 + 640) of the gate, 256 x (256 + 8) behind it, but for the last 256 x 8.
  EXPECT_NEAR(published.folded_flops_per_group() / 2, 12 * (8 * 788'480.0 - 65'536), 0.2e6);
}

}  // namespace
}  // namespace melflow::gpu
