#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "base/error.h"
#include "engine/files/chart.h"
#include "engine/files/picture.h"
#include "engine/kernels/thread_team.h"
#include "engine/parallel.h"
#include "tools/bench/benches.h"
#include "tools/bench/measurement.h"
#include "tools/cli/output.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

/// Curves of (x, computing for a second of sound), by threads.
using Curves = std::map<int, std::vector<float>>;

class Growth {
 public:
  Growth(const VoiceOptions& options, const Print& print) : options_(options), print_(print) {}

  void lengths(int threads, double longest) {
    const auto synthesizer = open(threads);
    std::vector<float> before;
    for (double seconds = 1; seconds <= longest; seconds = next(seconds, longest)) {
      before = length(synthesizer, threads, seconds, before);
    }
  }

  /// Streams that take their chunks in turn, each thread its share of them: a stream alone has all threads, several
  /// have one each. Each says what it says alone.
  void streams(int threads, double seconds) {
    const auto of_one = open(threads), of_several = open(1);
    const auto frames = sample_frames(of_one.voice().mel, seconds);
    const auto alone = together(of_one, frames, 1, 1).front();
    for (const int count : {1, 2, 4, 8, 16}) {
      const auto& synthesizer = count < threads ? of_one : of_several;
      const int shares = count < threads ? 1 : threads;
      auto measurement = begin(synthesizer, threads, seconds, count);
      Times times;
      std::vector<std::vector<float>> sounds;
      for (int round = 0; round < 3; ++round) {
        times.take([&] { sounds = together(synthesizer, frames, count, shares); });
      }
      double error = 0;
      for (const auto& sound : sounds) error = std::max(error, difference(alone, sound, alone.size()));
      say(measurement, times, count * seconds_of(synthesizer, sounds.front().size()), "one stream alone", error,
          by_streams_[threads], count);
    }
  }

  files::Image picture() const {
    const files::Image panels[] = {chart(by_length_, "length of the sound, log10 s"),
                                   chart(by_streams_, "streams at once")};
    return files::side_by_side(panels);
  }

 private:
  static constexpr double kKept = 10;  ///< seconds of a sound that the next longer one is compared with

  static double next(double seconds, double longest) {
    const double step = std::lround(std::log10(seconds) * 2) % 2 == 0 ? 3 : 10.0 / 3;  // 1, 3, 10, 30 …
    return seconds < longest ? std::min(std::round(seconds * step), longest) : longest + 1;
  }

  engine::Synthesizer open(int threads) const {
    auto options = options_;
    options.threads = threads;
    return options.open();
  }

  static double seconds_of(const engine::Synthesizer& synthesizer, size_t samples) {
    return static_cast<double>(samples) / synthesizer.voice().mel.sample_rate;
  }

  Measurement begin(const engine::Synthesizer& synthesizer, int threads, double seconds, int streams) const {
    auto what = spoken_by(synthesizer, options_);
    what.update({{"threads", threads}, {"streams", streams}, {"seconds_of_sound", seconds}});
    return {"growth", what, multiply_add_peak(cpu::Precision::fp32, threads)};
  }

  void say(Measurement& measurement, const Times& times, double sound, const std::string& compared, double error,
           std::vector<float>& curve, double x) {
    const double cost = times.median() / sound;
    const auto line = measurement.report({{"seconds", times.json()}, {"computing_for_a_second_of_sound", cost}},
                                         nullptr, {{"what", "largest difference from " + compared}, {"value", error}});
    if (line.contains("subject")) curve.insert(curve.end(), {static_cast<float>(x), static_cast<float>(cost)});
    print_(line);
  }

  static double difference(std::span<const float> a, std::span<const float> b, size_t count) {
    double worst = 0;
    for (size_t i = 0; i < std::min({count, a.size(), b.size()}); ++i) {
      worst = std::max<double>(worst, std::abs(a[i] - b[i]));
    }
    return worst;
  }

  /// → the beginning of the sound.
  std::vector<float> length(const engine::Synthesizer& synthesizer, int threads, double seconds,
                            const std::vector<float>& before) {
    const auto& recipe = synthesizer.voice().mel;
    const auto frames = sample_frames(recipe, seconds);
    const auto kept = static_cast<size_t>(kKept * recipe.sample_rate);
    const size_t step = 24 * static_cast<size_t>(recipe.n_mels);
    auto measurement = begin(synthesizer, threads, seconds, 1);
    Times times;
    std::vector<float> beginning, piece;
    size_t samples = 0;
    const auto give = [&] {
      samples += piece.size();
      const auto room = std::min(piece.size(), kept - std::min(kept, beginning.size()));
      beginning.insert(beginning.end(), piece.begin(), piece.begin() + static_cast<ptrdiff_t>(room));
      piece.clear();
    };
    for (int round = 0; round < (seconds < 20 ? 3 : 1); ++round) {
      beginning.clear();
      samples = 0;
      times.take([&] {
        const auto stream = synthesizer.open_stream(engine::Noise(options_.seed));
        for (size_t at = 0; at < frames.size(); at += step) {
          stream->add(std::span(frames).subspan(at, std::min(step, frames.size() - at)), piece);
          give();
        }
        stream->finish(piece);
        give();
      });
    }
    // What was said before the end of the shorter mel came into sight.
    const auto ahead = static_cast<size_t>(synthesizer.first_frames()) * static_cast<size_t>(recipe.hop_length);
    const auto same = before.size() - std::min(before.size(), ahead);
    say(measurement, times, seconds_of(synthesizer, samples), "the shorter sound before it, where both know as much",
        difference(before, beginning, same), by_length_[threads], std::log10(seconds));
    return beginning;
  }

  std::vector<std::vector<float>> together(const engine::Synthesizer& synthesizer, std::span<const float> frames,
                                           int count, int shares) const {
    const size_t step = 24 * static_cast<size_t>(synthesizer.voice().mel.n_mels);
    std::vector<std::unique_ptr<engine::Stream>> all;
    for (int i = 0; i < count; ++i) all.push_back(synthesizer.open_stream(engine::Noise(options_.seed)));
    std::vector<std::vector<float>> sounds(all.size());
    engine::parallel_for(static_cast<size_t>(shares), shares, [&](size_t share) {
      const auto each = [&](const auto& work) {
        for (size_t i = share; i < all.size(); i += static_cast<size_t>(shares)) work(*all[i], sounds[i]);
      };
      for (size_t at = 0; at < frames.size(); at += step) {
        const auto chunk = frames.subspan(at, std::min(step, frames.size() - at));
        each([&](engine::Stream& stream, std::vector<float>& sound) { stream.add(chunk, sound); });
      }
      each([](engine::Stream& stream, std::vector<float>& sound) { stream.finish(sound); });
    });
    return sounds;
  }

  /// With a line at zero, so that what is level looks level.
  static files::Image chart(const Curves& by_threads, const char* x) {
    std::vector<files::Curve> curves;
    for (const auto& [threads, points] : by_threads) {
      const auto name = std::to_string(threads) + (threads == 1 ? " thread" : " threads");
      if (points.size() >= 4) curves.push_back({name, points});
    }
    if (curves.empty())
      throw Error(Exit::unavailable, "no chart: too few lines were reported; run it on a quiet machine");
    const auto& points = curves.front().points;
    curves.push_back({"", {points.front(), 0, points[points.size() - 2], 0}});
    return files::line_chart(curves, {x, "s of computing for 1 s of sound"});
  }

  VoiceOptions options_;
  Print print_;
  Curves by_length_, by_streams_;
};

}  // namespace

void bench_growth(const VoiceOptions& options, double longest, const Picture& picture, const Print& print) {
  auto file = open_output(picture.path, picture.force);  // so that a name that is taken is told before the hour
  Growth growth(options, print);
  const int most = engine::threads_for(options.threads);
  for (int threads = 1; threads <= most; threads *= 2) {
    growth.lengths(threads, longest);
    growth.streams(threads, std::min(longest, 4.0));
  }
  if (file) {
    file->write(files::png_bytes(growth.picture()));
    file->commit();
  }
}

}  // namespace melflow::tools
