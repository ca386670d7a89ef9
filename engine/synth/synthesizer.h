#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "audio/mel.h"
#include "audio/refine.h"
#include "audio/waveform.h"
#include "engine/files/mel_frames.h"
#include "engine/noise.h"
#include "engine/synth/stream.h"
#include "engine/voice.h"

namespace melflow::engine {

struct SynthOptions {
  double sigma = -1.0;   ///< standard deviation of the noise; negative: the voice's own
  int64_t draws = 0;     ///< of noise for each group, of which a BlockFlow takes the best; 0: the voice's own
  int64_t refine = -1;   ///< passes that bring the sound nearer to the mel (audio/refine.h); negative: the voice's own
  float denoise = 0.0f;  ///< strength of the denoiser; 0 leaves it out
  cpu::Precision precision = cpu::Precision::fp32;
  int threads = 0;  ///< of the CPU; 0: default_threads()
  /// Seconds from a mel frame to its sound, at most, where the voice's own would be more: then what refines it waits
  /// less, or is left out; and if that is not enough, the voice guesses what follows, and its sound is not exact.
  /// 0: exact.
  double latency = 0.0;
};

/// Mel → sound, with one voice. The public face of the engine.
class Synthesizer {
 public:
  /// `source` opens streams of the voice's model. Throws Error{usage} where a voice that is no BlockFlow is to take the
  /// best of several draws, or a sound of the voice's recipe to be refined that cannot be (audio/refiner.h).
  Synthesizer(Voice voice, std::shared_ptr<const StreamSource> source, const SynthOptions& options);
  /// On the CPU, without LibTorch.
  Synthesizer(const VoiceFile& file, const SynthOptions& options);

  using Sink = std::function<void(std::span<const float>)>;

  /// Hands the samples (frames·hop_length in all) to the sink as they are computed, in memory that does not grow with
  /// the mel. From sample `start` on: the same samples as from the beginning, for which WaveGlow computes no more than
  /// it sees of the past; a voice whose past never ends, and what refines any voice, compute all of it.
  /// Answers Stream::snr_db.
  std::optional<double> run(const files::MelFrames& mel, const Noise& noise, const Sink& sink, int64_t start = 0) const;

  /// The same, whole.
  audio::Waveform operator()(const audio::Mel& mel, const Noise& noise) const;

  /// For mels that are still arriving: what run() does, frame by frame, the denoiser included. Throws Error{usage}
  /// where the voice cannot be as fast as `latency` asks.
  std::unique_ptr<Stream> open_stream(const Noise& noise) const;

  /// The noise that run() uses, before sigma: [group_size, groups]. Where the voice takes the best of several draws, it
  /// is known only after a run, and if the noise was Noise::noting().
  files::NpyArray noise_for(const files::MelFrames& mel, const Noise& noise) const;

  const Voice& voice() const { return voice_; }
  double sigma() const { return sigma_; }
  int64_t draws() const { return draws_; }
  /// None where `latency` leaves no time for them.
  int64_t refining_passes() const { return refining_.passes; }
  /// Hops by which they delay the sound; 0 without them.
  int64_t refining_delay() const { return refining_.passes > 0 ? refining_.delay : 0; }
  /// Frames that a stream takes before the first samples come out; with the denoiser, at most.
  int64_t first_frames() const;
  /// How many frames a stream should be given at once, `given` so far: StreamSource::frames_at_once.
  int frames_at_once(int64_t given) const { return source_->frames_at_once(given); }
  /// How many sounds to make at a time, each in a thread of its own, where there are several.
  int streams_at_once() const { return source_->streams_at_once(); }

 private:
  int64_t frame_to_begin_at(int64_t start) const;
  double frame_seconds() const { return static_cast<double>(voice_.mel.hop_length) / voice_.mel.sample_rate; }
  void keep_to_latency(double seconds);

  Voice voice_;
  double sigma_;
  int64_t draws_;
  float denoise_;
  audio::RefineOptions refining_;
  std::optional<int64_t> hurry_;  // frames that the bare voice may look ahead, where it would look further
  std::shared_ptr<const StreamSource> source_;
  std::vector<float> denoiser_bias_;
};

}  // namespace melflow::engine
