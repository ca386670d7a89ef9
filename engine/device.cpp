#include "engine/device.h"

#include <dlfcn.h>

#include <torch/torch.h>
#include <torch/version.h>

#include "audio/error.h"

namespace melflow::engine {

torch::Device open_device(const std::string& name) {
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
  return {torch::kCUDA, 0};
}

}  // namespace melflow::engine
