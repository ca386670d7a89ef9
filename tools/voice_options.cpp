#include "tools/voice_options.h"

#include <algorithm>
#include <iterator>

#include <torch/torch.h>

#include "audio/error.h"
#include "engine/device.h"
#include "tools/inputs.h"

namespace melflow::tools {

void VoiceOptions::add_to(CLI::App& app) {
  app.add_option("--voice", voice, "a voice's file, or the name of a shipped one");
  app.add_option("--sigma", sigma, "standard deviation of the noise; default: the voice's own")
      ->check(CLI::Range(0.0, 10.0));
  app.add_option("--seed", seed, "of the noise");
  app.add_option("--denoise", denoise, "strength of the denoiser; 0 leaves it out")->check(CLI::Range(0.0, 100.0));
  app.add_option("--device", device, "cpu or cuda");
  app.add_option("--precision", precision, "fp32; bf16 or int8 for WaveGlow: faster, and not exact")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}));
  app.add_option("--threads", threads, "of the CPU; 0: as many as there are")->check(CLI::Range(0, 1024));
}

engine::Synthesizer VoiceOptions::open() const {
  if (threads > 0) torch::set_num_threads(threads);
  const auto where = engine::open_device(device);
  const auto* chosen = std::find_if(std::begin(engine::kPrecisions), std::end(engine::kPrecisions),
                                    [&](engine::Precision p) { return precision == engine::name_of(p); });
  return {engine::load_voice(find_voice(voice)),
          {.sigma = sigma, .denoise = denoise, .device = where, .precision = *chosen}};
}

}  // namespace melflow::tools
