#pragma once

#include <memory>

#include "engine/gpu/device.h"

namespace melflow::gpu {

/// What GPU is played. `backwards`: blocks and threads from the last to the first, which must change nothing.
struct Emulation {
  bool backwards = false;
  TensorCores tensor_cores = TensorCores::warps;
  int shared_bytes = 227 * 1024;  ///< of a block, on an H100
  int multiprocessors = 100;
};

/// A GPU played by the CPU, for tests: every block of every kernel is run, its accesses checked
/// (tests/gpu/emulated_memory.h); what is wrong throws KernelFault.
std::shared_ptr<Device> emulated_device(const Emulation& as = {});

}  // namespace melflow::gpu
