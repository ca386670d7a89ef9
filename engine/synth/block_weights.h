#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/files/safetensors.h"
#include "engine/kernels/linear.h"
#include "models/block_flow_options.h"

namespace melflow::engine {

/// A BlockFlow's weights, packed once for evaluation step by step; any number of streams share one copy.
struct BlockWeights {
  /// `tensors` must be those that the options ask for (model_options.h).
  BlockWeights(const models::BlockFlowOptions& options, const std::map<std::string, files::TensorView>& tensors);

  models::BlockFlowOptions options;
  std::vector<PackedLinear> encoder;  ///< the convolutions, as matrices over [kernel · channels] of joined frames
  PackedLinear cepstrum, film, lag_bias, past, out;
  std::vector<PackedLinear> layers;
  PackedLinear mel_to_magnitude;
  std::pair<size_t, size_t> band;  ///< of the bins that the mel hears: the first, and the one behind the last
  float sharpness[2];              ///< the weight of a correlation, not its logarithm
};

}  // namespace melflow::engine
