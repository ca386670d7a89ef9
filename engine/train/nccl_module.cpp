// A library of its own, melflow_nccl.so: the only file that is linked with LibTorch's CUDA half.
#include "engine/train/nccl_module.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <torch/csrc/cuda/nccl.h>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "base/error.h"

namespace melflow::engine {
namespace {

/// "host 0000:1b:00.0 (boot …)": the current GPU, by its place in the machine, whatever CUDA_VISIBLE_DEVICES calls it.
/// Machines of a cluster may share both names; no two have been booted as one.
std::string current_gpu() {
  int device = 0;
  char address[32] = {}, host[256] = {};
  C10_CUDA_CHECK(cudaGetDevice(&device));
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(address, sizeof address, device));
  ::gethostname(host, sizeof host - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return std::string(host) + " " + address + (boot.empty() ? "" : " (boot " + boot + ")");
}

/// NCCL would say "Duplicate GPU detected", and not what to do.
void require_own_gpu(c10d::Store& store, const ProcessPlace& place) {
  const auto key = [](int rank) { return "gpu/" + std::to_string(rank); };
  const auto own = current_gpu();
  store.set(key(place.rank), own);
  int other = place.rank;
  for (int rank = 0; rank < place.size; ++rank) {
    if (store.get_to_str(key(rank)) == own && rank != place.rank) other = rank;
  }
  // The first keeps the store: nobody ends before all have read it.
  store.add("gpu/read", 1);
  for (int i = 0; i < 10'000 && store.add("gpu/read", 0) < place.size; ++i) ::usleep(2000);
  if (other == place.rank) return;
  throw Error(Exit::usage, "--device cuda: processes " + std::to_string(std::min(other, place.rank)) + " and " +
                               std::to_string(std::max(other, place.rank)) + " have the same GPU (" + own +
                               "); start one process for each GPU");
}

/// NCCL's header describes a struct that LibTorch's CUDA half fills in: it must be of the same NCCL.
void require_same_nccl() {
  const auto theirs = torch::cuda::nccl::version();
  const auto major = theirs >> 32, minor = (theirs >> 16) & 0xFFFF;
  if (major == NCCL_MAJOR && minor == NCCL_MINOR) return;
  throw Error(Exit::unavailable, "melflow was built with the header of NCCL " + std::to_string(NCCL_MAJOR) + "." +
                                     std::to_string(NCCL_MINOR) + ", and LibTorch has " + std::to_string(major) + "." +
                                     std::to_string(minor) + "; build again beside the PyTorch that is used");
}

}  // namespace

extern "C" c10::intrusive_ptr<c10d::Backend> melflow_open_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                                               const ProcessPlace& place,
                                                               const std::string& interface) {
  require_same_nccl();
  require_own_gpu(*store, place);
  // Where it meets, like Gloo: on loopback, unless told. Somebody's own word in the environment stands.
  ::setenv("NCCL_SOCKET_IFNAME", ("=" + (interface.empty() ? "lo" : interface)).c_str(), /*overwrite=*/0);
  if (interface.empty()) ::setenv("NCCL_IB_DISABLE", "1", 0);
  // No thread of c10d's that ends the program where a sum is late: Processes waits, and tells.
  ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 1);
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = kPatience;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, place.rank, place.size, options);
}

}  // namespace melflow::engine
