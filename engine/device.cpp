#include "engine/device.h"

#include <dlfcn.h>

#include <torch/torch.h>

#include "audio/error.h"

namespace melflow::engine {

torch::Device open_device(const std::string& name) {
  if (name == "cpu") return torch::kCPU;
  if (name != "cuda") throw Error(Exit::usage, "--device " + name + ": unknown; use cpu or cuda");
  static void* const library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    throw Error(Exit::unavailable, std::string("--device cuda: LibTorch's CUDA library does not load (") + dlerror() +
                                       "); use --device cpu");
  }
  if (!torch::cuda::is_available()) {
    throw Error(Exit::unavailable, "--device cuda: no NVIDIA GPU or driver found; use --device cpu");
  }
  return torch::kCUDA;
}

}  // namespace melflow::engine
