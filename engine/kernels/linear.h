#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace melflow::engine {

/// y = W x + b for one vector at a time, where the weights, not the arithmetic, are what has to be moved: packed once
/// into panels of outputs that are read from end to end, in half precision where every weight is one (a voice stored
/// so), which changes no digit. The oracle is torch::nn::Linear.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight [outputs, inputs], row-major; bias [outputs] or empty.
  PackedLinear(std::span<const float> weight, std::span<const float> bias, int inputs, int outputs);

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  /// x [inputs] → y [outputs]; they must not overlap.
  void operator()(std::span<const float> x, std::span<float> y) const;

 private:
  int inputs_ = 0, outputs_ = 0;
  std::vector<float> panels_;          // [panels, inputs, kPanel]; empty where half_panels_ holds them
  std::vector<uint16_t> half_panels_;  // the same in half precision
  std::vector<float> bias_;            // [panels·kPanel]
};

}  // namespace melflow::engine
