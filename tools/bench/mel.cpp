#include <algorithm>
#include <cmath>
#include <numbers>

#include "audio/fft.h"
#include "audio/mel.h"
#include "engine/noise.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

}  // namespace

audio::Waveform noise_like_speech(int sample_rate, double seconds) {
  audio::Waveform out{{}, sample_rate};
  const auto n = static_cast<int64_t>(seconds * sample_rate);
  float last = 0;
  for (int64_t i = 0; i < n; ++i) {
    last = 0.9f * last + 0.02f * engine::normal_at(1, 0, i);
    out.samples.push_back(last);
  }
  return out;
}

namespace {

/// Largest difference of frame `frame` from a direct sum in double.
double mel_error(const audio::Mel& mel, const audio::Waveform& sound, const audio::MelOptions& o, int frame) {
  const auto bank = audio::mel_filterbank(o);
  const int bins = o.n_fft / 2 + 1;
  double worst = 0;
  std::vector<double> magnitude(static_cast<size_t>(bins));
  for (int k = 0; k < bins; ++k) {
    double re = 0, im = 0;
    for (int t = 0; t < o.n_fft; ++t) {
      const double hann = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * t / o.n_fft);
      const double x = hann * sound.samples[static_cast<size_t>(frame * o.hop_length - o.n_fft / 2 + t)];
      const double angle = 2 * std::numbers::pi * ((static_cast<int64_t>(k) * t) % o.n_fft) / o.n_fft;
      re += x * std::cos(angle);
      im -= x * std::sin(angle);
    }
    magnitude[static_cast<size_t>(k)] = std::hypot(re, im);
  }
  for (int m = 0; m < o.n_mels; ++m) {
    double sum = 0;
    for (int k = 0; k < bins; ++k) sum += bank[static_cast<size_t>(m * bins + k)] * magnitude[static_cast<size_t>(k)];
    const double expected = std::log(std::max(sum, o.log_floor));
    worst = std::max(
        worst,
        std::abs(expected -
                 mel.values[static_cast<size_t>(m) * static_cast<size_t>(mel.frames) + static_cast<size_t>(frame)]));
  }
  return worst;
}

}  // namespace

void bench_mel(const Print& print) {
  const audio::MelOptions recipe;
  const auto sound = noise_like_speech(recipe.sample_rate, 30);
  audio::MelExtractor extractor(recipe);
  audio::RealFft fft(recipe.n_fft);
  for (auto& x : fft.real()) x = 0.5;
  audio::Mel mel = extractor(sound);
  Measurement measurement("mel", {{"threads", 1}, {"seconds_of_sound", sound.seconds()}, {"frames", mel.frames}},
                          multiply_add_peak(cpu::Precision::fp32, 1));
  Times ours, bare;
  for (int round = 0; round < 20; ++round) {  // in turn: a machine whose speed drifts drifts for both
    ours.take([&] { mel = extractor(sound); });
    bare.take([&] {
      for (int f = 0; f < mel.frames; ++f) fft.forward();
    });
  }
  double error = 0;
  for (const int frame : {10, 500, 1500}) error = std::max(error, mel_error(mel, sound, recipe, frame));
  print(measurement.report({{"seconds", ours.json()},
                            {"real_time_factor", sound.seconds() / ours.median()},
                            {"microseconds_per_frame", 1e6 * ours.median() / mel.frames},
                            {"times_rival_median", ours.median() / bare.median()},
                            {"times_rival_min", ours.min() / bare.min()}},
                           {{"what", "as many bare FFTW transforms, in double"},
                            {"seconds", bare.json()},
                            {"microseconds_per_frame", 1e6 * bare.median() / mel.frames}},
                           {{"what", "largest difference from a direct sum in double"}, {"value", error}}));
}

}  // namespace melflow::tools
