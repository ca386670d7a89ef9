#pragma once

#include <memory>

#include "engine/gpu/device.h"

namespace melflow::gpu {

/// The first NVIDIA GPU, by the fastest instructions that are right there: wgmma where it has that and speaks_right(),
/// else mma. That is chosen by numbers that are wrong; a fault of the GPU ends what a process can do there, and then
/// the environment's MELFLOW_TENSOR_CORES=mma is the way (wgmma: that, unasked). Throws as open_cuda_device(), and
/// Error{config} where the variable says anything else.
std::shared_ptr<Device> open_gpu();

/// Whether a small model, spoken in every tile (some milliseconds), is within 40 dB of the plain inverse in double.
bool speaks_right(const std::shared_ptr<Device>& device);

}  // namespace melflow::gpu
