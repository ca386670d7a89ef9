#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <torch/types.h>

#include "audio/mel.h"
#include "audio/waveform.h"
#include "engine/noise.h"
#include "engine/synth/stream.h"
#include "engine/voice.h"

namespace melflow::engine {

struct SynthOptions {
  double sigma = -1.0;   ///< standard deviation of the noise; negative: the voice's own
  float denoise = 0.0f;  ///< strength of the denoiser; 0 leaves it out
  torch::Device device = torch::kCPU;
  Precision precision = Precision::fp32;
};

/// Mel → sound, with one voice. The public face of the engine.
class Synthesizer {
 public:
  Synthesizer(Voice voice, const SynthOptions& options);

  using Sink = std::function<void(std::span<const float>)>;

  /// Hands the samples (frames·hop_length in all) to the sink as they are computed, in memory that does not grow with
  /// the mel.
  void run(const audio::Mel& mel, const Noise& noise, const Sink& sink);

  /// The same, whole.
  audio::Waveform operator()(const audio::Mel& mel, const Noise& noise);

  /// For mels that are still arriving: what run() does, frame by frame, the denoiser included.
  std::unique_ptr<Stream> open_stream(const Noise& noise) const;

  /// The noise that run() uses, before sigma: [group_size, groups].
  torch::Tensor noise_for(const audio::Mel& mel, const Noise& noise) const;

  const Voice& voice() const { return voice_; }
  double sigma() const { return sigma_; }

 private:
  Voice voice_;
  double sigma_;
  float denoise_;
  std::unique_ptr<StreamSource> source_;
  std::vector<float> denoiser_bias_;
};

}  // namespace melflow::engine
