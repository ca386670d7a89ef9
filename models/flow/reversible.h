#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/flow/bijection.h"

namespace melflow::models {

/// A bijection within a longer flow. It works on the channels from `first_channel` on; those before have left already
/// (early outputs, split.h) and stay as they are.
struct Step {
  std::string name;
  std::shared_ptr<Bijection> map;
  int64_t first_channel = 0;
};

/// steps, in order, of x [batch, …] → value [batch, channels, positions], as a Chain with Splits computes it; every
/// step must know its local log-determinant. The backward pass keeps no activations: from its output each step finds
/// its input again (Bijection::retrace) and computes its graph anew, so that memory is that of one step, whatever their
/// number (the idea of RevNet, Gomez et al. 2017, on a flow that is invertible anyway). What passes from step to step
/// is held in double: it is small beside what the networks hold, and the inputs found again are those that were, also
/// where a network computes in 16 bits. One backward pass a graph at a time.
Mapped forward_reversibly(const std::vector<Step>& steps, const torch::Tensor& x, const torch::Tensor& context);

/// The mean over batch and positions of each step's local log-determinant, in nats a position. Without a graph.
std::vector<double> mean_volumes(const std::vector<Step>& steps, const torch::Tensor& x, const torch::Tensor& context);

}  // namespace melflow::models
