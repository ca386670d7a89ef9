#pragma once

#include <memory>

#include "engine/gpu/device.h"

namespace melflow::gpu {

/// A GPU of `multiprocessors` played by the CPU, for tests: every block of every kernel is run, its accesses checked
/// (tests/gpu/emulated_memory.h); what is wrong throws KernelFault. `backwards`: blocks and threads from the last to
/// the first, which must change nothing.
std::shared_ptr<Device> emulated_device(bool backwards = false, TensorCores tensor_cores = TensorCores::warps,
                                        int multiprocessors = 100);

}  // namespace melflow::gpu
