// melflow-torch's side of with_torch.h; the verbs have their own files.
#include "tools/cli/with_torch.h"

#include <malloc.h>

#include <torch/torch.h>
#include <torch/version.h>

#include "audio/error.h"
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
