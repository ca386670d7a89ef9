#pragma once

#include <torch/types.h>

namespace melflow::testing {

/// A device of LibTorch's that is not the CPU, played by the CPU: where there is no GPU, models show here that they
/// keep all that they compute with on the device of their weights, and read its memory by LibTorch alone. A tensor of
/// the CPU beside one of the device's, where CUDA would not take it, throws, and memory that is read as if it were the
/// CPU's is noise. Autograd, modules and optimisers work as on any device. It is slow.
torch::Device played_device();

}  // namespace melflow::testing
