#include "engine/device.h"

#include <dlfcn.h>

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/torch.h>
#include <torch/version.h>

#include "base/error.h"

namespace melflow::engine {

torch::Device open_device(const std::string& name, int local_rank) {
  if (name == "cpu") return torch::kCPU;
  if (name != "cuda") throw Error(Exit::usage, "--device " + name + ": unknown; use cpu or cuda");
  // dlerror() tells once.
  static const std::string problem =
      dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr ? dlerror() : std::string();
  if (!problem.empty()) {
    throw Error(Exit::unavailable, "--device cuda: LibTorch's CUDA library does not load (" + problem +
                                       "); install PyTorch " + TORCH_VERSION +
                                       " with all that it needs and build with its Torch_DIR, or use --device cpu");
  }
  if (!torch::cuda::is_available()) {
    throw Error(Exit::unavailable, "--device cuda: no NVIDIA GPU or driver found; use --device cpu");
  }
  // What is called float32 is computed in it, and the same twice.
  auto& context = at::globalContext();
  context.setAllowTF32CuDNN(false);
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  const int gpus = static_cast<int>(torch::cuda::device_count());
  if (gpus > 1 && local_rank >= gpus) {
    throw Error(Exit::usage, "--device cuda: process " + std::to_string(local_rank) + " of this machine has no GPU; " +
                                 std::to_string(gpus) + " are there: start as many processes, counted from 0");
  }
  const torch::Device device(torch::kCUDA, static_cast<torch::DeviceIndex>(gpus > 1 ? local_rank : 0));
  c10::impl::getDeviceGuardImpl(torch::kCUDA)->setDevice(device);
  return device;
}

}  // namespace melflow::engine
