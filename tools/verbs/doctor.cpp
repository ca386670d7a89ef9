#include <unistd.h>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "audio/portaudio_io.h"
#include "base/error.h"
#include "cpu/tile_kernels.h"
#include "engine/kernels/thread_team.h"
#include "engine/voice.h"
#include "tools/cli/options.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/with_torch.h"
#include "tools/verbs/verbs.h"

namespace melflow::tools {
namespace {

void line(bool works, const std::string& what, const std::string& otherwise) {
  std::cout << (works ? "ok    " : "no    ") << one_line(what + (works ? "" : ": " + otherwise)) << "\n";
}

}  // namespace

int run_doctor(CLI::App& app, std::vector<std::string> arguments) {
  parse(app, std::move(arguments));
  const auto gpu = gpu_problem();  // first: melflow-torch, where there is one, answers all
  line(true,
       "CPU with " + std::to_string(std::thread::hardware_concurrency()) + " threads, of which " +
           std::to_string(engine::default_threads()) + " are used (" + cpu::tile_kernels().name + ")",
       "");
  const auto torch = torch_version();
  line(!torch.empty(),
       "LibTorch " + torch + (torch.empty() ? "" : " ") + "for train, eval, score, flow and --device cuda",
       torch_program().string() + " is not built; tools/build release makes it");
  line(gpu.empty(), "GPU", gpu);
  line(!audio::list_devices().empty(), "sound device",
       "play needs one; synth writes files without, and play --device-out clock:FILE plays into one");
  bool usable = false;
  for (const auto& path : shipped_voices()) {
    try {
      engine::VoiceFile{path};
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
