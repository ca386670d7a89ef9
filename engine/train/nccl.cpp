#include "engine/train/nccl.h"

#include <dlfcn.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/error.h"
#include "engine/train/nccl_module.h"

namespace melflow::engine {

DeviceSums nccl_sums() {
  void* module = dlopen("melflow_nccl.so", RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    const std::string why = dlerror();
    throw Error(Exit::unavailable,
                "--device cuda in several processes: NCCL's part of melflow does not load (" + why +
                    "); it is built, beside melflow-torch, where CMake finds CUDA's headers and nccl.h");
  }
  const auto open = reinterpret_cast<OpenNccl*>(dlsym(module, kOpenNccl));
  if (open == nullptr) throw Error(Exit::unavailable, "melflow_nccl.so is of another melflow; build it again");
  return {torch::kCUDA, open};
}

}  // namespace melflow::engine
