#pragma once

#include <vector>

#include "engine/kernels/linear.h"
#include "models/block_flow.h"

namespace melflow::engine {

/// A BlockFlow's weights, packed once for evaluation step by step; any number of streams share one copy.
struct BlockWeights {
  explicit BlockWeights(const models::BlockFlow& model);

  models::BlockFlowOptions options;
  std::vector<PackedLinear> encoder;  ///< the convolutions, as matrices over [kernel · channels] of joined frames
  PackedLinear cepstrum, film, lag_bias, past, out;
  std::vector<PackedLinear> layers;
  PackedLinear mel_to_magnitude;
  float sharpness[2];  ///< the weight of a correlation, not its logarithm
};

}  // namespace melflow::engine
