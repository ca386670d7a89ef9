#include "tools/cli/voice_options.h"

#include <cstdio>

#include "audio/refine.h"
#include "base/error.h"
#include "engine/synth/gpu_stream.h"
#include "tools/cli/options.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/with_torch.h"

namespace melflow::tools {

void VoiceOptions::add_to(CLI::App& app) {
  add_voice(app, voice);
  app.add_option("--sigma", sigma, "standard deviation of the noise; default: the voice's own")
      ->check(within(0.0, 10.0));
  app.add_option("--seed", seed, "seed of the noise")->check(seeds());
  app.add_option(
         "--draws", draws,
         "candidates of noise for each block, of which a block voice keeps the one that fits the mel best; 1: no "
         "choice; default: the voice's own")
      ->check(CLI::Range(int64_t{1}, engine::kMostDraws));
  app.add_option("--refine", refine,
                 "passes that bring the sound nearer to the mel; 0: none, and 15 frames less of latency; default: the "
                 "voice's own")
      ->check(CLI::Range(0, audio::RefineOptions::kMostPasses));
  app.add_option("--denoise", denoise, "strength of the denoiser; 0 leaves it out")->check(within(0.0, 100.0));
  app.add_option("--device", device, "cpu or cuda");
  app.add_option("--precision", precision,
                 "fp32; bf16 or int8 for WaveGlow: faster, and not exact. Default on a GPU: bf16 for WaveGlow, whose "
                 "own kernels then run")
      ->check(CLI::IsMember({"fp32", "bf16", "int8"}));
  app.add_option(
         "--latency", latency,
         "largest delay from a mel frame to its sound, in ms; 0: exact. Below the exact delay refining is shortened or "
         "left out, then the voice guesses the frames it does not have yet, and reports the error")
      ->check(within(0.0, 60000.0));
  add_threads(app, threads);
}

std::vector<std::string> VoiceOptions::words() const {
  const VoiceOptions unsaid;
  std::vector<std::string> out;
  const auto put = [&](const char* option, const auto& value, const auto& default_value) {
    if (value == default_value) return;
    if constexpr (std::is_same_v<decltype(value), const std::string&>) {
      out.insert(out.end(), {option, value});
    } else {
      out.insert(out.end(), {option, std::to_string(value)});
    }
  };
  put("--voice", voice, unsaid.voice);
  put("--sigma", sigma, unsaid.sigma);
  put("--seed", seed, unsaid.seed);
  put("--draws", draws, unsaid.draws);
  put("--refine", refine, unsaid.refine);
  put("--denoise", denoise, unsaid.denoise);
  put("--device", device, unsaid.device);
  put("--precision", precision, unsaid.precision);
  put("--latency", latency, unsaid.latency);
  put("--threads", threads, unsaid.threads);
  return out;
}

engine::Synthesizer VoiceOptions::open() const {
  engine::SynthOptions options{.sigma = sigma,
                               .draws = draws,
                               .refine = refine,
                               .denoise = denoise,
                               .threads = threads,
                               .latency = latency / 1000};
  auto synthesizer = device == "cuda" ? open_cuda(options) : open_on_cpu(options);
  const bool refines = refine > 0 || (refine < 0 && synthesizer.voice().refine > 0);
  if (latency > 0 && refines && synthesizer.refining_passes() == 0) {
    std::fprintf(stderr, "%s: --latency %g leaves no time to refine; without it, or with more, the sound is better\n",
                 one_line(synthesizer.voice().name).c_str(), latency);
  }
  return synthesizer;
}

engine::Synthesizer VoiceOptions::open_on_cpu(engine::SynthOptions options) const {
  if (device != "cpu") throw Error(Exit::usage, "--device " + device + ": unknown; use cpu or cuda");
  for (const auto p : cpu::kPrecisions) {
    if (precision == cpu::name_of(p)) options.precision = p;
  }
  return {engine::VoiceFile(find_voice(voice)), options};
}

engine::Synthesizer VoiceOptions::open_cuda(const engine::SynthOptions& options) const {
  if (precision == "fp32") return open_on_gpu(find_voice(voice), options);
  if (precision == "int8") throw Error(Exit::usage, "--precision int8 is for the CPU; leave it out, or take bf16");
  const engine::VoiceFile file(find_voice(voice));
  const auto source = engine::gpu_source(file.voice().options(), file.tensors());
  if (source) return {file.voice(), source, options};
  if (!precision.empty()) {
    throw Error(Exit::usage,
                file.voice().name +
                    ": --precision bf16 is for WaveGlow with kernels of our own (docs/ARCHITECTURE.md), in a "
                    "melflow that was built with CUDA; leave it out");
  }
  return open_on_gpu(find_voice(voice), options);
}

}  // namespace melflow::tools
