#include "base/error.h"
#include "engine/gpu/device.h"

namespace melflow::gpu {

bool has_cuda() { return false; }
bool cuda_has(TensorCores) { return false; }

std::shared_ptr<Device> open_cuda_device(TensorCores) {
  throw Error(Exit::unavailable, "this melflow was built without CUDA (cmake said why); use --device cpu");
}

}  // namespace melflow::gpu
