#include <unistd.h>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <torch/torch.h>

#include "audio/error.h"
#include "audio/portaudio_io.h"
#include "engine/device.h"
#include "engine/voice.h"
#include "tools/inputs.h"
#include "tools/verbs.h"

namespace melflow::tools {
namespace {

void line(bool works, const std::string& what, const std::string& otherwise) {
  std::cout << (works ? "ok    " : "no    ") << what << (works ? "" : ": " + otherwise) << "\n";
}

std::string gpu_problem() {
  try {
    engine::open_device("cuda");
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace

int run_doctor(CLI::App& app, std::vector<std::string> arguments) {
  parse(app, std::move(arguments));
  line(true,
       "CPU with " + std::to_string(std::thread::hardware_concurrency()) + " threads, LibTorch uses " +
           std::to_string(torch::get_num_threads()) + " (" + at::get_cpu_capability() + ")",
       "");
  const auto gpu = gpu_problem();
  line(gpu.empty(), "GPU", gpu);
  line(!audio::list_devices().empty(), "sound device", "play needs one; synth writes files without");
  bool usable = false;
  for (const auto& path : shipped_voices()) {
    try {
      engine::load_voice(path);
      line(true, "voice " + path.stem().string(), "");
      usable = true;
    } catch (const Error& e) {
      line(false, "voice " + path.stem().string(), e.what());
    }
  }
  if (!usable) line(false, "a shipped voice", "set MELFLOW_VOICES to the folder that holds them, or give --voice FILE");
  const bool writable = access(".", W_OK) == 0;
  line(writable, "this folder can be written", "outputs need another one (-o, -d)");
  return usable ? 0 : static_cast<int>(Exit::unavailable);
}

}  // namespace melflow::tools
