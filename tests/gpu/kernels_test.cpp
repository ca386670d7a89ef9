// Every matrix kernel against plain sums in double over the same bfloat16 numbers: what is left is the order of
// float32 sums and the rounding of the result.

#include <cmath>
#include <random>

#include "engine/gpu/context_kernel.h"
#include "engine/gpu/gate_kernel.h"
#include "engine/gpu/output_kernel.h"
#include "tests/gpu/gpu_test.h"

namespace melflow::gpu {
namespace {

constexpr int kLag = 40;

/// Slots at their positions, and rings of random rows.
class Bench {
 public:
  Bench(std::shared_ptr<Device> device, std::vector<Slot> slots, int count)
      : device_(std::move(device)), slots_(std::move(slots)), count_(count), on_device_(device_, slots_) {}

  Rows rows(int unit = 1) const { return {on_device_.data(), static_cast<int>(slots_.size()), count_, kLag, unit}; }
  const std::vector<Slot>& slots() const { return slots_; }
  int count() const { return count_; }

  std::vector<Bf16> halves(size_t n) {
    std::vector<Bf16> out(n);
    for (auto& x : out) x.bits = static_cast<uint16_t>(pack_bf16(uniform_(random_), 0));
    return out;
  }
  std::vector<float> floats(size_t n) {
    std::vector<float> out(n);
    for (auto& x : out) x = uniform_(random_);
    return out;
  }
  template <typename T>
  Buffer<T> put(const std::vector<T>& values) {
    return Buffer<T>(device_, values);
  }
  template <typename T>
  std::vector<T> get(const Buffer<T>& buffer) {
    std::vector<T> out(buffer.size());
    device_->download(out.data(), buffer.data(), buffer.bytes());
    return out;
  }
  /// visit(slot, time) of every row that the launch must compute.
  template <typename Visit>
  void each(int unit, Visit&& visit) const {
    for (int s = 0; s < static_cast<int>(slots_.size()); ++s) {
      const auto& slot = slots_[static_cast<size_t>(s)];
      for (int r = 0; r < count_; ++r) {
        const int t = slot.position / unit - kLag + r;
        if (t >= 0 && t < slot.total / unit) visit(s, t);
      }
    }
  }
  Device& device() { return *device_; }

 private:
  std::shared_ptr<Device> device_;
  std::vector<Slot> slots_;
  int count_;
  Buffer<Slot> on_device_;
  std::mt19937 random_{7};
  std::uniform_real_distribution<float> uniform_{-1, 1};
};

double value(Bf16 x) { return static_cast<double>(float_of(static_cast<uint32_t>(x.bits) << 16)); }

/// A source and its numbers: what a product adds up at one time, in double.
struct Tap {
  std::vector<Bf16> values;
  int ring, channels, shift, first;  ///< first: depth of its first channel
  double dot(const std::vector<Bf16>& weights, size_t column, int depth, int slot, int time, int total) const {
    const int t = time + shift;
    if (t < 0 || t >= total) return 0;
    double sum = 0;
    for (int c = 0; c < channels; ++c) {
      sum += value(values[static_cast<size_t>((slot * ring + t % ring) * channels + c)]) *
             value(weights[column * static_cast<size_t>(depth) + static_cast<size_t>(first + c)]);
    }
    return sum;
  }
};

/// Within half a unit in the last place of bfloat16, and what float32 sums may be off.
void expect_rounded(Bf16 actual, double expected, const std::string& where) {
  EXPECT_NEAR(value(actual), expected, std::abs(expected) / 256 + 2e-5) << where;
}
std::string where(int slot, int time, int channel) {
  return "slot " + std::to_string(slot) + ", time " + std::to_string(time) + ", channel " + std::to_string(channel);
}

/// A fresh stream, one in the middle that ends inside the pass, an idle slot, and one that is far on.
std::vector<Slot> all_kinds_of_slots() { return {{0, 1 << 30}, {70, 75}, {0, 0}, {100003, 1 << 30}}; }

class Kernels : public ::testing::TestWithParam<Place> {
 protected:
  /// check(device, tile, dilation) for all of them.
  template <typename Check>
  void each_case(Check&& check) {
    OPEN_OR_SKIP(device, GetParam());
    for (const auto shape : {TileShape::narrow, TileShape::medium, TileShape::wide}) {
      for (const int dilation : {1, 8, 128}) {
        SCOPED_TRACE(std::string(name_of(shape)) + " tile, dilation " + std::to_string(dilation));
        check(device, shape, dilation);
      }
    }
  }
};

TEST_P(Kernels, GateIsADilatedConvolutionThroughTanhAndSigmoid) {
  each_case([](const std::shared_ptr<Device>& device, TileShape shape, int dilation) {
    // 72 channels: a step of the depth that is not full, and a tile of columns that is not.
    constexpr int kChannels = 72, kContext = 40, kDepth = (1 + 3 * 2) * 64;
    Bench bench(device, all_kinds_of_slots(), 83);
    const int ring = 83 + 2 * dilation, context_ring = 83 + kLag;
    const auto slots = bench.slots().size();
    std::vector<Tap> taps{
        {bench.halves(slots * static_cast<size_t>(context_ring * kContext)), context_ring, kContext, 0, 0}};
    const auto x = bench.halves(slots * static_cast<size_t>(ring * kChannels));
    for (int k = 0; k < 3; ++k) taps.push_back({x, ring, kChannels, (k - 1) * dilation, 64 + k * 128});
    const auto weights = bench.halves(2 * kChannels * kDepth);
    auto bias = bench.floats(2 * kChannels);
    // Where e⁻ᵘ is beyond float32: the first channels' tanh, and others' sigmoid (a gate's columns come in eights).
    bias[0] = bias[9] = bias[18] = 200;
    bias[1] = bias[10] = bias[26] = -200;

    const auto on_context = bench.put(taps[0].values), on_x = bench.put(x), on_weights = bench.put(weights);
    const auto on_bias = bench.put(bias);
    const auto out = bench.put(std::vector<Bf16>(slots * 83 * kChannels));
    GateArgs args{.product = {.rows = bench.rows(),
                              .sources = {},
                              .steps = kDepth / 64,
                              .weights = on_weights.data(),
                              .columns = 2 * kChannels,
                              .side = nullptr},
                  .bias = on_bias.data(),
                  .activation = {out.data(), 83, kChannels}};
    args.product.sources[0] = {{on_context.data(), context_ring, kContext}, kContext, 0, 1};
    for (int k = 0; k < 3; ++k)
      args.product.sources[1 + k] = {{on_x.data(), ring, kChannels}, kChannels, (k - 1) * dilation, 2};
    device->launch(args, shape);

    const auto actual = bench.get(out);
    std::vector<bool> touched(actual.size());
    bench.each(1, [&](int slot, int time) {
      for (int c = 0; c < kChannels; ++c) {
        double u[2];
        for (int gate = 0; gate < 2; ++gate) {
          const auto column = static_cast<size_t>(c / 8 * 16 + gate * 8 + c % 8);
          u[gate] = static_cast<double>(bias[column]);
          for (const auto& tap : taps)
            u[gate] += tap.dot(weights, column, kDepth, slot, time, bench.slots()[static_cast<size_t>(slot)].total);
        }
        const auto at = static_cast<size_t>((slot * 83 + time % 83) * kChannels + c);
        touched[at] = true;
        expect_rounded(actual[at], std::tanh(u[0]) / (1 + std::exp(-u[1])), where(slot, time, c));
      }
    });
    for (size_t i = 0; i < actual.size(); ++i) {
      if (!touched[i]) {
        ASSERT_EQ(actual[i].bits, 0) << "a row that does not exist was written, at " << i;
      }
    }
  });
}

TEST_P(Kernels, OutputAddsTheResidualAndTheFoldedSkip) {
  each_case([](const std::shared_ptr<Device>& device, TileShape shape, int dilation) {
    constexpr int kChannels = 72, kDepth = 128, kCount = 83;
    for (const bool with_residual : {true, false}) {
      for (const bool first : {true, false}) {
        Bench bench(device, all_kinds_of_slots(), kCount);
        const auto slots = bench.slots().size();
        const int ring = kCount + 2 * dilation, after_ring = kCount + 4 * dilation;
        const Tap act{bench.halves(slots * kCount * kChannels), kCount, kChannels, 0, 0};
        const auto weights = bench.halves(kChannels * kDepth), side = bench.halves(8 * kDepth);
        const auto x = bench.halves(slots * static_cast<size_t>(ring * kChannels));
        const auto bias = bench.floats(kChannels), before = bench.floats(slots * static_cast<size_t>(ring) * 8);
        const auto on_act = bench.put(act.values), on_weights = bench.put(weights), on_side = bench.put(side);
        const auto on_x = bench.put(x);
        const auto on_bias = bench.put(bias), change = bench.put(before);
        const auto after = bench.put(std::vector<Bf16>(slots * static_cast<size_t>(after_ring * kChannels)));
        OutputArgs args{.product = {.rows = bench.rows(),
                                    .sources = {},
                                    .steps = 2,
                                    .weights = on_weights.data(),
                                    .columns = with_residual ? kChannels : 0,
                                    .side = on_side.data()},
                        .bias = on_bias.data(),
                        .before = {on_x.data(), ring, kChannels},
                        .after = {after.data(), after_ring, kChannels},
                        .change = {change.data(), ring, 8},
                        .first = first};
        args.product.sources[0] = {{on_act.data(), kCount, kChannels}, kChannels, 0, 2};
        device->launch(args, shape);

        const auto actual = bench.get(after);
        const auto changed = bench.get(change);
        bench.each(1, [&](int slot, int time) {
          const auto total = bench.slots()[static_cast<size_t>(slot)].total;
          for (int c = 0; with_residual && c < kChannels; ++c) {
            const auto column = static_cast<size_t>(c);
            const double sum = act.dot(weights, column, kDepth, slot, time, total) + static_cast<double>(bias[column]) +
                               value(x[static_cast<size_t>((slot * ring + time % ring) * kChannels + c)]);
            expect_rounded(actual[static_cast<size_t>((slot * after_ring + time % after_ring) * kChannels + c)], sum,
                           where(slot, time, c));
          }
          for (int c = 0; c < 8; ++c) {
            const auto at = static_cast<size_t>((slot * ring + time % ring) * 8 + c);
            const double sum = act.dot(side, static_cast<size_t>(c), kDepth, slot, time, total);
            EXPECT_NEAR(changed[at], sum + (first ? 0.0 : static_cast<double>(before[at])), 2e-5)
                << where(slot, time, c);
          }
        });
      }
    }
  });
}

TEST_P(Kernels, ContextIsWrittenGroupAfterGroup) {
  each_case([](const std::shared_ptr<Device>& device, TileShape shape, int dilation) {
    constexpr int kBands = 24, kGroups = 4, kStride = 40, kDepth = 2 * 64, kCount = 45, kColumns = kGroups * kStride;
    Bench bench(device, {{0, 4000}, {240, 248}, {4 * 1001, 1 << 30}}, kCount);
    const auto slots = bench.slots().size();
    const int ring = kCount + 1;
    const auto mel = bench.halves(slots * static_cast<size_t>(ring * kBands));
    const Tap taps[] = {{mel, ring, kBands, -1, 0}, {mel, ring, kBands, 0, 64}};
    const auto weights = bench.halves(kColumns * kDepth);
    const auto bias = bench.floats(kColumns);
    const auto on_mel = bench.put(mel), on_weights = bench.put(weights);
    const auto on_bias = bench.put(bias);
    const int context_ring = kGroups * (kCount + dilation);
    const auto out = bench.put(std::vector<Bf16>(slots * static_cast<size_t>(context_ring * kStride)));
    ContextArgs args{.product = {.rows = bench.rows(kGroups),
                                 .sources = {},
                                 .steps = 2,
                                 .weights = on_weights.data(),
                                 .columns = kColumns,
                                 .side = nullptr},
                     .bias = on_bias.data(),
                     .context = {out.data(), context_ring, kStride},
                     .groups = kGroups};
    for (int q = 0; q < 2; ++q) args.product.sources[q] = {{on_mel.data(), ring, kBands}, kBands, q - 1, 1};
    device->launch(args, shape);
    const auto actual = bench.get(out);
    bench.each(kGroups, [&](int slot, int time) {
      const int total = bench.slots()[static_cast<size_t>(slot)].total / kGroups;
      for (int c = 0; c < kColumns; ++c) {
        double sum = static_cast<double>(bias[static_cast<size_t>(c)]);
        for (const auto& tap : taps) sum += tap.dot(weights, static_cast<size_t>(c), kDepth, slot, time, total);
        const int row = slot * context_ring + (time * kGroups + c / kStride) % context_ring;
        expect_rounded(actual[static_cast<size_t>(row * kStride + c % kStride)], sum, where(slot, time, c));
      }
    });
  });
}

INSTANTIATE_TEST_SUITE_P(All, Kernels, places(), ::testing::PrintToStringParamName());

}  // namespace
}  // namespace melflow::gpu
