#include "tools/voice_options.h"

#include <algorithm>
#include <iterator>

#include "audio/error.h"
#include "tools/inputs.h"
#include "tools/with_torch.h"

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
  app.add_option("--latency", latency,
                 "milliseconds from a mel frame to its sound, at most: a voice that looks ahead further guesses what "
                 "follows, and says how far off that was; 0: exact")
      ->check(CLI::Range(0.0, 60000.0));
  app.add_option("--threads", threads, "of the CPU; 0: as many as there are")->check(CLI::Range(0, 1024));
}

engine::Synthesizer VoiceOptions::open() const {
  const auto* chosen = std::find_if(std::begin(engine::kPrecisions), std::end(engine::kPrecisions),
                                    [&](engine::Precision p) { return precision == engine::name_of(p); });
  const engine::SynthOptions options{
      .sigma = sigma, .denoise = denoise, .precision = *chosen, .threads = threads, .latency = latency / 1000};
  if (device == "cuda") return open_on_gpu(find_voice(voice), options);
  if (device != "cpu") throw Error(Exit::usage, "--device " + device + ": unknown; use cpu or cuda");
  return {engine::VoiceFile(find_voice(voice)), options};
}

}  // namespace melflow::tools
