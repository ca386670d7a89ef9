#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/levels.h"

namespace melflow::engine {

struct FixedPointProduct;

/// y = W x + b for one vector at a time, where the weights, not the arithmetic, are what has to be moved: packed once
/// into panels of outputs that are read from end to end. Where every weight is a whole number of 8 bits times a power
/// of two for its output (`melflow convert --int8`) they are such bytes, where every weight is a half (a voice stored
/// so) they are halves, and neither changes a digit; where the machine has VNNI, bytes are multiplied as such
/// (`fixed_point.h`), which of inputs of a size is nearer to the exact sums than float32. The oracle is
/// torch::nn::Linear.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [outputs, inputs], row-major; bias [outputs] or empty. `level` is one that the machine has.
  PackedLinear(std::span<const float> weight, std::span<const float> bias, int inputs, int outputs,
               cpu::Level level = cpu::best_level());

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  /// x [inputs] → y [outputs]; they must not overlap.
  void operator()(std::span<const float> x, std::span<float> y) const;

 private:
  int inputs_ = 0, outputs_ = 0;
  cpu::Level level_ = cpu::Level::any;
  template <typename Weight>
  void multiply(const Weight* panels, std::span<const float> x, std::span<float> y) const;
  void multiply_in_fixed_point(std::span<const float> x, std::span<float> y) const;
  template <typename AddPanel>
  void each_panel(std::span<float> y, AddPanel&& add) const;

  const FixedPointProduct* fixed_point_ = nullptr;  // what multiplies bytes as such, where they are
  // [panels, inputs, kPanel], one of the three; for fixed_point_ bytes [runs of its outputs, fours of inputs, outputs,
  // 4].
  std::vector<float> panels_;
  std::vector<uint16_t> half_panels_;
  std::vector<int8_t> byte_panels_;
  std::vector<int32_t> of_ones_;  // [panels·kPanel]: the sum of an output's bytes
  std::vector<float> bias_;       // [panels·kPanel], in steps
  std::vector<float> steps_;      // [panels·kPanel]: what a weight of 1 is; 1 but for bytes
};

}  // namespace melflow::engine
