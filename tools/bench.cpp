#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <numbers>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/fft.h"
#include "audio/mel.h"
#include "engine/build_info.h"
#include "engine/gpu/measure.h"
#include "engine/kernels/thread_team.h"
#include "engine/kernels/tile_kernels.h"
#include "engine/noise.h"
#include "tools/bench_stream.h"
#include "tools/bench_waveglow.h"
#include "tools/inputs.h"
#include "tools/verbs.h"
#include "tools/voice_options.h"
#include "tools/with_torch.h"

namespace melflow::tools {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

struct Times {
  std::vector<double> seconds;
  double min() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double median() const {
    auto sorted = seconds;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<ptrdiff_t>(sorted.size() / 2), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

/// Runs the two in turn, A B A B, so that a machine whose speed drifts drifts for both.
std::pair<Times, Times> interleaved(int runs, const std::function<void()>& a, const std::function<void()>& b) {
  Times first, second;
  for (int i = -1; i < runs; ++i) {  // the first round warms up
    for (const auto& [work, times] : {std::pair{&a, &first}, std::pair{&b, &second}}) {
      const auto begin = Clock::now();
      (*work)();
      if (i >= 0) times->seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
  }
  return {first, second};
}

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

json bench_mel() {
  const audio::MelOptions recipe;
  const auto sound = noise_like_speech(recipe.sample_rate, 30);
  audio::MelExtractor extractor(recipe);
  audio::RealFft fft(recipe.n_fft);
  for (auto& x : fft.real()) x = 0.5;
  audio::Mel mel;
  const auto [ours, bare] = interleaved(
      20, [&] { mel = extractor(sound); },
      [&] {
        for (int f = 0; f < mel.frames; ++f) fft.forward();
      });
  double error = 0;
  for (const int frame : {10, 500, 1500}) error = std::max(error, mel_error(mel, sound, recipe, frame));
  return {{"bench", "mel"},
          {"threads", 1},
          {"frames", mel.frames},
          {"real_time_factor", sound.seconds() / ours.median()},
          {"microseconds_per_frame", 1e6 * ours.median() / mel.frames},
          {"bare_fftw_microseconds_per_frame", 1e6 * bare.median() / mel.frames},
          {"times_bare_fftw_median", ours.median() / bare.median()},
          {"times_bare_fftw_min", ours.min() / bare.min()},
          {"max_error", error}};
}

/// Single-precision multiply-add rate of one thread.
double peak_gflops() {
  constexpr long kRounds = 2000000;
  const auto& product = engine::tile_kernels().product(engine::Precision::fp32);
  Times times;
  for (int i = 0; i < 6; ++i) {
    const auto begin = Clock::now();
    product.peak(kRounds);
    times.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return 1e-9 * kRounds * product.peak_operations / times.min();
}

json bench_synth(const VoiceOptions& options, double seconds) {
  auto synthesizer = options.open();
  const auto& recipe = synthesizer.voice().mel;
  audio::MelExtractor extractor(recipe);
  const auto mel = extractor(noise_like_speech(recipe.sample_rate, seconds));
  const double before = peak_gflops();
  Times times;
  audio::Waveform sound;
  for (int i = 0; i < 4; ++i) {
    const auto begin = Clock::now();
    sound = synthesizer(mel, engine::Noise(options.seed));
    if (i > 0) times.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  const double after = peak_gflops();
  return {{"bench", "synth"},
          {"voice", synthesizer.voice().name},
          {"threads", options.threads > 0 ? options.threads : engine::default_threads()},
          {"seconds_of_sound", sound.seconds()},
          {"real_time_factor", sound.seconds() / times.median()},
          {"best_real_time_factor", sound.seconds() / times.min()},
          {"peak_gflops", {before, after}},
          {"machine_was_quiet", std::abs(before - after) < 0.05 * before}};
}

void bench_gpu(const std::function<void(json)>& print) {
  const auto device = gpu::open_cuda_device();
  gpu::bench(device, [&](const gpu::Measured& row) {
    auto result = json::parse(row.json());
    result["bench"] = "gpu";
    result["device"] = device->name();
    print(std::move(result));
  });
}

}  // namespace

int run_bench(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> subjects{"mel", "synth", "stream", "waveglow"};
  VoiceOptions v;
  double seconds = 10;
  bool as_json = false;
  app.add_option("subjects", subjects, "mel, synth, stream, waveglow, gpu; default: all but gpu")
      ->check(CLI::IsMember({"mel", "synth", "stream", "waveglow", "gpu"}));
  v.add_to(app);
  app.add_option("--seconds", seconds, "of sound to synthesise")->check(CLI::Range(0.5, 3600.0));
  app.add_flag("--json", as_json, "one JSON object a subject");
  parse(app, std::move(arguments));
  if (std::find(subjects.begin(), subjects.end(), "waveglow") != subjects.end()) require_torch();
  const auto print = [&](json result) {
    result["commit"] = engine::commit();
    if (as_json) {
      std::cout << result.dump() << std::endl;
      return;
    }
    for (const auto& [key, value] : result.items()) std::cout << "  " << key << ": " << value.dump() << "\n";
    std::cout << std::endl;
  };
  for (const auto& subject : subjects) {
    if (subject == "gpu") {  // WaveGlow at the paper's size, random weights; whatever voice was named
      bench_gpu(print);
      continue;
    }
    print(subject == "mel"        ? bench_mel()
          : subject == "stream"   ? bench_stream(v, seconds)
          : subject == "waveglow" ? bench_waveglow(seconds, v.threads > 0 ? v.threads : engine::default_threads())
                                  : bench_synth(v, seconds));
  }
  return 0;
}

}  // namespace melflow::tools
