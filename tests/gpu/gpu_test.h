#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>

#include "base/error.h"
#include "engine/gpu/tile_product.h"
#include "tests/gpu/emulated_device.h"

namespace melflow::gpu {

/// Where a test's kernels run. The same tests run on a GPU where there is one, and skip with a word where there is
/// none.
struct Place {
  const char* name;
  bool cuda = false, backwards = false;
  TensorCores tensor_cores = TensorCores::warps;
};
inline std::ostream& operator<<(std::ostream& out, const Place& place) { return out << place.name; }
inline const Place kEmulated{"Emulated"}, kBackwards{"EmulatedBackwards", false, true},
    kWarpgroups{"EmulatedWarpgroups", false, false, TensorCores::warpgroups},
    kWarpgroupsBackwards{"EmulatedWarpgroupsBackwards", false, true, TensorCores::warpgroups}, kCuda{"CUDA", true},
    kCudaWarpgroups{"WarpgroupsCUDA", true, false, TensorCores::warpgroups};
/// All of them.
inline auto places() {
  return ::testing::Values(kEmulated, kBackwards, kWarpgroups, kWarpgroupsBackwards, kCuda, kCudaWarpgroups);
}

/// Null where there is no GPU: `why` says why.
inline std::shared_ptr<Device> open(const Place& place, std::string& why) {
  if (!place.cuda) return emulated_device({.backwards = place.backwards, .tensor_cores = place.tensor_cores});
  try {
    return open_cuda_device(place.tensor_cores);
  } catch (const Error& error) {
    if (error.code() != Exit::unavailable) throw;  // there is one, and it is not well
    why = error.what();
    return nullptr;
  }
}

inline const char* name_of(TileShape shape) {
  return shape == TileShape::narrow ? "narrow" : shape == TileShape::medium ? "medium" : "wide";
}

}  // namespace melflow::gpu

#define OPEN_OR_SKIP(device, place)                         \
  std::string why_not;                                      \
  const auto device = ::melflow::gpu::open(place, why_not); \
  if (!device) GTEST_SKIP() << why_not
