// melflow-torch's side of with_torch.h; the verbs have their own files.
#include "tools/cli/with_torch.h"

#include <malloc.h>

#include <algorithm>
#include <exception>
#include <latch>
#include <thread>
#include <vector>

#include <torch/torch.h>
#include <torch/version.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/model_voice.h"

namespace melflow::tools {

void keep_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

engine::Synthesizer open_on_gpu(const std::filesystem::path& voice, const engine::SynthOptions& options) {
  const auto device = engine::open_device("cuda");
  const auto opened = engine::load_voice(voice);
  opened.model->to(device);
  return engine::synthesizer_of(opened, options);
}

namespace {

/// How many threads can be started beside this one, up to `wanted`.
int startable(int wanted) {
  std::latch counted(1);
  std::vector<std::jthread> threads;
  try {
    threads.reserve(static_cast<size_t>(wanted));
    while (static_cast<int>(threads.size()) < wanted) threads.emplace_back([&] { counted.wait(); });
  } catch (const std::exception&) {  // no more of them, or of memory
  }
  counted.count_down();
  return static_cast<int>(threads.size());
}

}  // namespace

void use_threads(int threads) {
  constexpr int kOthers =
      4;  // those that read data ahead, beside two pools: OpenMP's, and one that LibTorch always starts
  const int wanted = threads > 0 ? threads : torch::get_num_threads();
  const int more = wanted > 1 ? std::max(0, startable(2 * (wanted - 1) + kOthers) - kOthers) / 2 : 0;
  if (threads > 0 || 1 + more < wanted) torch::set_num_threads(1 + more);
}

void require_torch() {}

std::string torch_version() { return TORCH_VERSION; }

std::string gpu_problem() {
  try {
    engine::open_device("cuda");
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace melflow::tools
