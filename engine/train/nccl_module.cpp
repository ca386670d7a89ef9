// A library of its own, melflow_nccl.so: the only file that is linked with LibTorch's CUDA half.
#include "engine/train/nccl_module.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "audio/error.h"

namespace melflow::engine {
namespace {

/// As long as Gloo waits for one who is late.
constexpr std::chrono::minutes kPatience{5};

/// "host 0000:1b:00.0": the current GPU, by its place in the machine, whatever CUDA_VISIBLE_DEVICES calls it.
std::string current_gpu() {
  int device = 0;
  char address[32] = {}, host[256] = {};
  C10_CUDA_CHECK(cudaGetDevice(&device));
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(address, sizeof address, device));
  ::gethostname(host, sizeof host - 1);
  return std::string(host) + " " + address;
}

/// NCCL waits for ever where two processes share a GPU.
void require_own_gpu(c10d::Store& store, const ProcessPlace& place) {
  const auto key = [](int rank) { return "gpu/" + std::to_string(rank); };
  const auto own = current_gpu();
  store.set(key(place.rank), own);
  for (int rank = 0; rank < place.size; ++rank) {
    if (rank == place.rank || store.get_to_str(key(rank)) != own) continue;
    throw Error(Exit::usage, "processes " + std::to_string(std::min(rank, place.rank)) + " and " +
                                 std::to_string(std::max(rank, place.rank)) + " have the same GPU (" + own +
                                 "); start one process for each GPU");
  }
}

}  // namespace

extern "C" c10::intrusive_ptr<c10d::Backend> melflow_open_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                                               const ProcessPlace& place,
                                                               const std::string& interface) {
  require_own_gpu(*store, place);
  // Where it meets, like Gloo: on loopback, unless told. Somebody's own word in the environment stands.
  ::setenv("NCCL_SOCKET_IFNAME", ("=" + (interface.empty() ? "lo" : interface)).c_str(), /*overwrite=*/0);
  // A wait for one who has gone ends in an exception of the waiting thread, instead of the end of the program.
  ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 0);
  ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = kPatience;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, place.rank, place.size, options);
}

}  // namespace melflow::engine
