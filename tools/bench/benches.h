#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "audio/waveform.h"
#include "tools/cli/voice_options.h"

namespace melflow::tools {

/// The subjects of `melflow bench`, a file each; every line they print has measurement.h's schema.
using Print = std::function<void(const nlohmann::json& line)>;

/// At least so many seconds of the shipped sample mel, over and over, frame after frame: what the benches speak.
std::vector<float> sample_frames(const audio::MelOptions& recipe, double seconds);

/// Who speaks and how, for a line's `case`: voice, device, precision, sigma, seed, draws, refine, denoise, latency_ms,
/// threads.
nlohmann::json spoken_by(const engine::Synthesizer& synthesizer, const VoiceOptions& options);

/// The mel of 30 s of noise, against as many bare transforms.
void bench_mel(const Print& print);

/// A voice on a real mel, against Griffin-Lim on the same.
void bench_synth(const VoiceOptions& options, double seconds, const Print& print);

/// What streaming costs with this voice: the first sample after the program's start, and the time of a chunk of 1, 4,
/// 16 and 64 frames against offline synthesis in turn, with the largest difference of the very samples that were timed.
void bench_stream(const VoiceOptions& options, double seconds, const Print& print);

/// How the cost grows with the length (1 s up to `longest`), the threads and the number of streams at once: seconds of
/// computing for a second of sound, which stay the same. A WaveGlow (`voice` in bf16) or the shipped voice. A chart of
/// both, where one is wanted.
struct Picture {
  std::string path;    ///< empty: none is wanted
  bool force = false;  ///< an existing one is replaced
};
void bench_growth(const VoiceOptions& options, double longest, const Picture& picture, const Print& print);

/// WaveGlow at its published size with random weights, on a real mel, with 1 thread and with all, in each precision,
/// against the plain model in LibTorch; its error against the model in double.
void bench_waveglow(double seconds, int threads, const Print& print);

/// The trainer's own steps: of the shipped voice's model and of a WaveGlow of 128 channels, from random weights, or of
/// the voice that is named, from its weights.
struct TrainBench {
  std::string voice;  ///< a file or a name; empty: the two
  std::string data;   ///< a folder of recordings; empty: a sentence that is shipped
  int batch = 2, frames = 62, steps = 8, threads = 0;
  std::string device = "cpu";  ///< or cuda
  bool bf16 = false;           ///< products of the training in bfloat16
};
void bench_train(const TrainBench& options, const Print& print);

/// WaveGlow on a GPU.
void bench_gpu(const Print& print);

/// Red noise.
audio::Waveform noise_like_speech(int sample_rate, double seconds);

}  // namespace melflow::tools
