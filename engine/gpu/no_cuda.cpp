#include "audio/error.h"
#include "engine/gpu/device.h"

namespace melflow::gpu {

std::shared_ptr<Device> open_cuda_device() {
  throw Error(Exit::unavailable, "this melflow was built without CUDA: no nvcc was found; use --device cpu");
}

}  // namespace melflow::gpu
