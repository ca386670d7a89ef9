#include "engine/gpu/open_gpu.h"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "base/error.h"
#include "engine/gpu/speak.h"

namespace melflow::gpu {

namespace {

/// What MELFLOW_TENSOR_CORES says; nothing where it is not set.
std::optional<TensorCores> asked_for() {
  const char* text = std::getenv("MELFLOW_TENSOR_CORES");
  const std::string name = text == nullptr ? "" : text;
  for (const auto cores : {TensorCores::warps, TensorCores::warpgroups}) {
    if (name == name_of(cores)) return cores;
  }
  if (name.empty()) return {};
  throw Error(Exit::config, "MELFLOW_TENSOR_CORES=" + name + ": there are " + name_of(TensorCores::warps) + " and " +
                                name_of(TensorCores::warpgroups));
}

}  // namespace

std::shared_ptr<Device> open_gpu() {
  if (const auto cores = asked_for()) return open_cuda_device(*cores);
  if (cuda_has(TensorCores::warpgroups)) {
    try {
      auto device = open_cuda_device(TensorCores::warpgroups);
      if (speaks_right(device)) return device;
      std::fputs("wgmma is not right on this GPU: mma is taken instead, which is slower\n", stderr);
    } catch (const Error& e) {
      std::fprintf(stderr, "wgmma fails on this GPU (%s): mma is taken instead, which is slower\n", e.what());
    }
  }
  return open_cuda_device(TensorCores::warps);
}

bool speaks_right(const std::shared_ptr<Device>& device) {
  // Depth of more than a step and columns of more than a narrow tile, none of them whole.
  const auto plain = PlainWaveGlow::random(
      {.n_mels = 6, .hop_length = 32, .n_flows = 1, .upsample_kernel = 96, .layers = 3, .channels = 72}, 11);
  const auto model = std::make_shared<const DeviceWaveGlow>(device, plain);
  const auto u = utterance(plain.sizes, 17, 1);
  const auto expected = plain.inverse(u.mel, u.z, 1);
  for (const auto shape : {TileShape::narrow, TileShape::medium, TileShape::wide}) {
    if (!(snr_db(speak(model, {u}, {u.frames}, shape)[0], expected) > 40)) return false;  // NaN is not right either
  }
  return true;
}

}  // namespace melflow::gpu
