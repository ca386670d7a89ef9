#pragma once

#include "engine/train/processes.h"

namespace melflow::testing {

/// What NCCL is to GPUs, for the device that is played: it adds up tensors that lie on that device, and refuses the
/// CPU's. Underneath Gloo does it. played_device() must have been called.
engine::DeviceSums played_sums();

}  // namespace melflow::testing
