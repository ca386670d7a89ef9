#include "engine/data/lint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <numbers>
#include <unordered_map>

#include "base/error.h"
#include "engine/files/sha256.h"
#include "engine/parallel.h"

namespace melflow::engine {
namespace {

constexpr int64_t kNaturalTop = 3;  // one run of three may be a broad natural top

double decibels(double amplitude) { return 20 * std::log10(std::max(amplitude, 1e-10)); }

std::string text(const char* format, double value) {
  char out[96];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

struct Level {
  double mean = 0, power = 0;
  float peak = 0;
};

Level level_of(const std::vector<float>& x) {
  double sum = 0, squares = 0;
  Level level;
  for (const float s : x) {
    sum += s;
    squares += static_cast<double>(s) * s;
    level.peak = std::max(level.peak, std::abs(s));
  }
  const double n = std::max(static_cast<double>(x.size()), 1.0);
  level.mean = sum / n;
  level.power = squares / n;
  return level;
}

std::string tops(int64_t count, double peak_db) { return std::to_string(count) + text(" samples at %.1f dB", peak_db); }

/// The step of integers: the largest power of two, of 8 to 16 bits, of which all samples are multiples; 0 of floats.
float quantum_of(const std::vector<float>& x) {
  for (int bits = 7; bits <= 15; ++bits) {
    const auto scale = static_cast<float>(1 << bits);
    if (std::ranges::all_of(x, [&](float s) { return s * scale == std::round(s * scale); })) return 1 / scale;
  }
  return 0;
}

/// The smallest step that is taken near the peak, at most 1/32: of A-law a larger one than its quantum.
float step_near(const std::vector<float>& x, float peak) {
  constexpr float kNear = 0.7f, kLeast = 1.0f / 32768, kMost = 1.0f / 32;
  float least = kMost;
  for (size_t i = 1; i < x.size(); ++i) {
    const bool near = std::min(std::abs(x[i]), std::abs(x[i - 1])) >= kNear * peak && x[i] * x[i - 1] > 0;
    if (const float step = std::abs(x[i] - x[i - 1]); near && step >= kLeast) least = std::min(least, step);
  }
  return least;
}

/// Samples in runs of at least three at the largest magnitude, from which sound falls by more than two steps: what
/// clipping leaves, at full scale or scaled down afterwards. (A broad natural top goes down step by step.)
int64_t clipped_samples(const std::vector<float>& x, float peak) {
  constexpr float kQuiet = 0.05f, kEqual = 0.5f / 32768;
  if (peak < kQuiet) return 0;
  const float step = step_near(x, peak);
  // Integers reach a step further down than up.
  const float equal = std::max(kEqual, peak == 1 ? 1.5f * quantum_of(x) : 0.0f);
  const auto is_top = [&](size_t i) { return std::abs(x[i]) >= peak - equal; };
  int64_t clipped = 0;
  for (size_t begin = 0, end = 0; begin < x.size(); begin = std::max(end, begin + 1)) {
    if (!is_top(begin)) continue;
    for (end = begin; end < x.size() && is_top(end) && (x[end] > 0) == (x[begin] > 0);) ++end;
    const float sign = x[begin] > 0 ? 1.0f : -1.0f;
    const auto fall = [&](size_t i) { return peak - sign * x[i]; };
    const float before = begin > 0 ? fall(begin - 1) : 0, after = end < x.size() ? fall(end) : 0;
    const bool whole = begin == 0 && end == x.size();
    if (end - begin >= 3 && (whole || std::max(before, after) > 2.5f * step))
      clipped += static_cast<int64_t>(end - begin);
  }
  return clipped;
}

/// Power of a second at one frequency (Goertzel under a Hann window).
double power_at(const float* x, size_t n, const std::vector<float>& window, double radians) {
  const double c = 2 * std::cos(radians);
  double s1 = 0, s2 = 0;
  for (size_t i = 0; i < n; ++i) {
    const double s = static_cast<double>(x[i] * window[i]) + c * s1 - s2;
    s2 = s1;
    s1 = s;
  }
  return s1 * s1 + s2 * s2 - c * s1 * s2;
}

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

struct Hum {
  double over_neighbours = kNotMeasured;  ///< dB over the mean of 7 Hz below and above
  double level = -200;                    ///< dB of full scale
};

/// 50 or 60 Hz, the worse of them; the median of whole seconds: hum stays, voices move.
Hum hum_of(const audio::Waveform& sound) {
  const auto n = static_cast<size_t>(sound.sample_rate);
  const double length = static_cast<double>(n);
  constexpr size_t kMostSeconds = 30;
  const size_t seconds = std::min(sound.samples.size() / n, kMostSeconds);
  if (seconds == 0) return {};
  std::vector<float> window(n);
  for (size_t i = 0; i < n; ++i) {
    window[i] = static_cast<float>(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / length));
  }
  Hum worst{.over_neighbours = -200, .level = -200};
  for (const double mains : {50.0, 60.0}) {
    std::vector<double> ratios, levels;
    for (size_t s = 0; s < seconds; ++s) {
      const auto at = [&](double hertz) {
        return power_at(sound.samples.data() + s * n, n, window, 2 * std::numbers::pi * hertz / length);
      };
      const double floor = 1e-9 * length, here = at(mains);  // the floor: of 16 bit
      ratios.push_back(10 * std::log10((here + floor) / ((at(mains - 7) + at(mains + 7)) / 2 + floor)));
      levels.push_back(10 * std::log10(8 * here / (length * length) + 1e-20));
    }
    const Hum hum{.over_neighbours = median(ratios), .level = median(levels)};
    if (hum.over_neighbours > worst.over_neighbours) worst = hum;
  }
  return worst;
}

double longest_gap(const audio::Waveform& sound) {
  constexpr float kQuiet = 0.001f;
  size_t longest = 0, run = 0;
  for (const float s : sound.samples) {
    run = std::abs(s) < kQuiet ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return static_cast<double>(longest) / sound.sample_rate;
}

std::string digest_of(const std::vector<float>& samples) {
  const auto pcm = audio::to_int16(samples);
  return files::sha256_hex(std::as_bytes(std::span(pcm)));
}

ClipLint lint_clip(const Clips& clips, const ClipPlace& place, const LintOptions& options) {
  ClipLint clip;
  clip.name = clips.name(place);
  try {
    const auto bytes = read_sound_bytes(clips, place);
    const auto info = audio::audio_info(bytes, clip.name);
    clip.sample_rate = info.sample_rate;
    clip.channels = info.channels;
    measure(audio::read_audio(bytes, clip.name), options, clip);
    constexpr int kMostChannels = 8;  // each is decoded by itself, and more are no recording of a voice
    if (info.channels > 1 && info.channels <= kMostChannels) {
      const auto channel = [&](int c) { return audio::read_audio(bytes, clip.name, {.channel = c + 1}).samples; };
      measure_channels(info.channels, channel, clip);
    }
  } catch (const Error& e) {
    clip.findings = {{"broken", e.what()}};
  }
  return clip;
}

/// Findings that need all recordings: rate, level, duplicates.
void compare(CorpusLint& lint, const LintOptions& options) {
  std::map<int, int64_t> rates;
  std::vector<double> levels;
  for (const auto& clip : lint.clips) {
    if (clip.sample_rate > 0) ++rates[clip.sample_rate];
    if (std::isfinite(clip.rms_db) && clip.rms_db > -80) levels.push_back(clip.rms_db);
    lint.seconds += clip.seconds;
  }
  const auto usual = std::ranges::max_element(rates, {}, [](const auto& entry) { return entry.second; });
  if (usual != rates.end()) lint.usual_rate = usual->first;
  std::ranges::sort(levels);
  if (!levels.empty()) {
    lint.median_db = levels[levels.size() / 2];
    lint.low_db = levels[levels.size() / 20];
    lint.high_db = levels[levels.size() - 1 - levels.size() / 20];
  }
  std::unordered_map<std::string, const std::string*> first;
  for (auto& clip : lint.clips) {
    if (clip.sample_rate > 0 && clip.sample_rate != lint.usual_rate) {
      clip.findings.push_back(
          {"rate", std::to_string(clip.sample_rate) + " Hz, most have " + std::to_string(lint.usual_rate)});
    }
    const double off = clip.rms_db - lint.median_db;
    if (std::abs(off) > options.level_db && clip.rms_db > -80) {
      clip.findings.push_back({"level", text("%+.1f dB from the median", off)});
    }
    if (clip.digest.empty()) continue;
    const auto [known, is_new] = first.emplace(clip.digest, &clip.name);
    if (!is_new) clip.findings.push_back({"duplicate", "of " + *known->second});
  }
}

}  // namespace

int64_t CorpusLint::with_findings() const {
  return std::ranges::count_if(clips, [](const ClipLint& clip) { return !clip.findings.empty(); });
}

void measure(const audio::Waveform& sound, const LintOptions& options, ClipLint& clip) {
  const auto& x = sound.samples;
  const auto [mean, power, peak] = level_of(x);
  const double rms = std::sqrt(power);
  clip.seconds = sound.seconds();
  clip.peak_db = decibels(peak);
  clip.rms_db = decibels(rms);
  clip.dc = mean;
  const auto found = [&](const char* kind, std::string detail) { clip.findings.push_back({kind, std::move(detail)}); };
  if (power < kSilentPower) {
    found("silent", text("%.1f dB", clip.rms_db));
    return;
  }
  clip.clipped = clipped_samples(x, peak);
  const auto hum = hum_of(sound);
  clip.hum_db = hum.over_neighbours;
  clip.longest_gap = longest_gap(sound);
  clip.digest = digest_of(x);
  if (clip.seconds < options.short_seconds) found("short", text("%.2f s", clip.seconds));
  if (clip.clipped > kNaturalTop) found("clipped", tops(clip.clipped, clip.peak_db));
  constexpr float kOver = 1.06f;  // 0.5 dB: decoders of lossy files and resampling overshoot by tenths
  if (peak > kOver) found("over", text("%+.1f dB over full scale, which integers and players clip", clip.peak_db));
  if (std::abs(clip.dc) > options.dc * rms) found("dc", text("%+.4f of full scale", clip.dc));
  constexpr double kHeardHum = -65;
  if (clip.hum_db > options.hum_db && hum.level > kHeardHum)
    found("hum", text("%.0f dB over its neighbours", clip.hum_db));
  if (clip.longest_gap > options.gap_seconds) found("gap", text("%.1f s", clip.longest_gap));
}

void measure_channels(int channels, const std::function<std::vector<float>(int)>& channel, ClipLint& clip) {
  double powers = 0;
  int64_t most = kNaturalTop;
  std::string worst;
  for (int c = 0; c < channels; ++c) {
    const auto x = channel(c);
    const auto level = level_of(x);
    powers += level.power;
    if (clip.clipped > kNaturalTop) continue;  // the mean shows it
    const auto clipped = clipped_samples(x, level.peak);
    if (clipped <= most) continue;
    most = clipped;
    worst = tops(clipped, decibels(level.peak)) + " of channel " + std::to_string(c + 1);
  }
  if (!worst.empty()) {
    clip.clipped = most;
    clip.findings.push_back({"clipped", worst});
  }
  // Channels that have nothing to do with one another, silent ones among them, have a mean of this level.
  const double n = channels, apart_db = decibels(std::sqrt(powers) / n);
  constexpr double kCancel = 9;
  if (powers / n > kSilentPower && clip.rms_db < apart_db - kCancel)
    clip.findings.push_back(
        {"phase", text("their mean is %.1f dB", clip.rms_db) + text(" where apart they make %.1f dB", apart_db)});
}

CorpusLint lint_corpus(const std::vector<std::filesystem::path>& paths, const LintOptions& options,
                       const std::function<bool()>& stop, const std::function<void(size_t, size_t)>& report) {
  const auto clips = list_clips(paths, options.workers);
  CorpusLint lint;
  lint.refused = clips.refused;
  lint.clips.resize(clips.places.size());
  std::mutex mutex;
  size_t done = 0;
  parallel_for(clips.places.size(), options.workers, [&](size_t i) {
    if (stop()) return;
    lint.clips[i] = lint_clip(clips, clips.places[i], options);
    const std::lock_guard lock(mutex);
    report(++done, clips.places.size());
  });
  if (!stop()) compare(lint, options);
  return lint;
}

}  // namespace melflow::engine
