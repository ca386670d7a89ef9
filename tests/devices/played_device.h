#pragma once

#include <torch/types.h>

namespace melflow::testing {

/// A device of LibTorch's that is not the CPU, played by the CPU: where there is no GPU, models show here that they
/// keep all that they compute with on the device of their weights, and read its memory by LibTorch alone. A tensor of
/// the CPU beside one of the device's, where CUDA would not take it, throws, and memory that is read as if it were the
/// CPU's is noise. Autograd, modules and optimisers work as on any device. It is slow. It plays where things lie, not
/// what a GPU's kernels do with them: not all of its types, nor the order of its sums. Autocast goes by CUDA's lists.
/// LibTorch knows the device from the first call on, which must come before anything is seeded.
torch::Device played_device();

}  // namespace melflow::testing
