#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/synth/synthesizer.h"

namespace melflow::tools {

/// The options that every verb that speaks has in common.
struct VoiceOptions {
  std::string voice, device = "cpu", precision;  ///< empty: the device's own
  double sigma = -1, latency = 0;                ///< latency: ms
  uint64_t seed = 0;
  int64_t draws = 0;    ///< 0: the voice's own
  int64_t refine = -1;  ///< negative: the voice's own
  float denoise = 0;
  int threads = 0;

  void add_to(CLI::App& app);
  /// The options as words, for another melflow that is to speak as this one would.
  std::vector<std::string> words() const;
  /// Throws as VoiceFile and open_on_gpu do.
  engine::Synthesizer open() const;

 private:
  engine::Synthesizer open_on_cpu(engine::SynthOptions options) const;
  engine::Synthesizer open_cuda(const engine::SynthOptions& options) const;
};

}  // namespace melflow::tools
