#include "audio/stft.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>
#include <string>

#include "base/error.h"
#include "cpu/clones.h"

namespace melflow::audio {
namespace {

const StftOptions& checked(const StftOptions& options) {
  if (options.n_fft < 2 || options.n_fft % 2 != 0 || options.win_length < 1 || options.win_length > options.n_fft ||
      options.hop_length < 1 || options.hop_length > options.n_fft) {
    throw Error(Exit::config, "STFT: n_fft " + std::to_string(options.n_fft) + ", hop_length " +
                                  std::to_string(options.hop_length) + ", win_length " +
                                  std::to_string(options.win_length) +
                                  " make no sense; n_fft must be even and neither hop nor window longer");
  }
  return options;
}

MELFLOW_CPU_CLONES void multiply(const float* __restrict a, const double* __restrict b, double* __restrict out, int n) {
  for (int i = 0; i < n; ++i) out[i] = a[i] * b[i];
}

/// sum += w·frame/n_fft and weight += w², for one frame.
MELFLOW_CPU_CLONES void overlap_add(const double* __restrict frame, const double* __restrict window, double scale,
                                    int n, double* __restrict sum, double* __restrict weight) {
  for (int i = 0; i < n; ++i) {
    sum[i] += frame[i] * window[i] * scale;
    weight[i] += window[i] * window[i];
  }
}

/// Sample t of the signal as it is continued beyond its ends; t lies less than one length outside.
float sample_beyond(std::span<const float> samples, Padding pad, int64_t t) {
  const auto n = static_cast<int64_t>(samples.size());
  if (t >= 0 && t < n) return samples[static_cast<size_t>(t)];
  if (pad == Padding::zero) return 0.0f;
  const int64_t mirrored = t < 0 ? -t : 2 * (n - 1) - t;
  assert(mirrored >= 0 && mirrored < n);
  return samples[static_cast<size_t>(mirrored)];
}

}  // namespace

int64_t StftOptions::shortest() const {
  const int64_t padding = pad_length(), mirrored = pad == Padding::reflect ? padding + 1 : 1;
  return std::max(mirrored, n_fft - 2 * padding);
}

int64_t StftOptions::frames(int64_t samples) const {
  return samples < shortest() ? 0 : (samples + 2 * int64_t{pad_length()} - n_fft) / hop_length + 1;
}

std::vector<double> hann_window(int length) {
  std::vector<double> window(static_cast<size_t>(length));
  for (int t = 0; t < length; ++t) {
    window[static_cast<size_t>(t)] = 0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * t / length);
  }
  return window;
}

void copy_padded(std::span<const float> samples, Padding pad, int64_t begin, std::span<float> out) {
  const auto n = static_cast<int64_t>(samples.size()), count = static_cast<int64_t>(out.size());
  const int64_t first = std::clamp<int64_t>(-begin, 0, count), last = std::clamp(n - begin, first, count);
  for (int64_t i = 0; i < first; ++i) out[static_cast<size_t>(i)] = sample_beyond(samples, pad, begin + i);
  std::copy_n(samples.begin() + (first < last ? begin + first : 0), last - first, out.begin() + first);
  for (int64_t i = last; i < count; ++i) out[static_cast<size_t>(i)] = sample_beyond(samples, pad, begin + i);
}

void load_frame(const StftOptions& options, std::span<const float> samples, std::span<const double> window,
                int64_t frame, std::span<double> out) {
  const int n = options.win_length;
  const int margin = (options.n_fft - n) / 2;
  assert(static_cast<int>(window.size()) == n && static_cast<int>(out.size()) == options.n_fft);
  const int64_t begin = frame * options.hop_length - options.pad_length() + margin;
  double* target = out.data() + margin;
  if (begin >= 0 && begin + n <= static_cast<int64_t>(samples.size())) {
    multiply(samples.data() + begin, window.data(), target, n);
    return;
  }
  for (int i = 0; i < n; ++i) {
    target[i] = sample_beyond(samples, options.pad, begin + i) * window[static_cast<size_t>(i)];
  }
}

Stft::Stft(const StftOptions& options)
    : options_(checked(options)), window_(hann_window(options.win_length)), fft_(options.n_fft) {}

Spectrogram Stft::forward(std::span<const float> samples) {
  Spectrogram result;
  forward(samples, result);
  return result;
}

void Stft::forward(std::span<const float> samples, Spectrogram& out) {
  const int64_t frames = options_.frames(static_cast<int64_t>(samples.size()));
  if (frames == 0) {
    throw Error(Exit::bad_data, "STFT: " + std::to_string(samples.size()) + " samples are too few; at least " +
                                    std::to_string(options_.shortest()) + " are needed");
  }
  out.frames = static_cast<int>(frames);
  out.bins = options_.bins();
  out.values.resize(static_cast<size_t>(frames) * out.bins);
  // inverse() leaves its own results outside the window.
  std::ranges::fill(fft_.real(), 0.0);
  for (int frame = 0; frame < out.frames; ++frame) {
    load_frame(options_, samples, window_, frame, fft_.real());
    fft_.forward();
    std::ranges::transform(fft_.spectrum(), out.frame(frame).begin(),
                           [](std::complex<double> value) { return std::complex<float>(value); });
  }
}

std::vector<float> Stft::inverse(const Spectrogram& spectrogram, int64_t samples) {
  assert(spectrogram.bins == options_.bins() && samples >= 0);
  const int64_t padding = options_.pad_length();
  const int64_t covered = int64_t{spectrogram.frames - 1} * options_.hop_length + options_.n_fft;
  const auto length = static_cast<size_t>(std::max(covered, padding + samples));
  std::vector<double> sum(length, 0.0), weight(length, 0.0);
  const int margin = (options_.n_fft - options_.win_length) / 2;
  const double scale = 1.0 / options_.n_fft;
  for (int frame = 0; frame < spectrogram.frames; ++frame) {
    std::ranges::copy(spectrogram.frame(frame), fft_.spectrum().begin());
    fft_.inverse();
    const int64_t begin = int64_t{frame} * options_.hop_length + margin;
    overlap_add(fft_.real().data() + margin, window_.data(), scale, options_.win_length, sum.data() + begin,
                weight.data() + begin);
  }
  std::vector<float> result(static_cast<size_t>(samples));
  // Below this weight (the outermost samples of a window) a quotient would be rounding error blown up.
  constexpr double kSmallestWeight = 1e-8;
  for (size_t t = 0; t < result.size(); ++t) {
    const size_t at = t + static_cast<size_t>(padding);
    result[t] = weight[at] > kSmallestWeight ? static_cast<float>(sum[at] / weight[at]) : 0.0f;
  }
  return result;
}

}  // namespace melflow::audio
