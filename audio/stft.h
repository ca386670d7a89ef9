#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <vector>

#include "audio/fft.h"

namespace melflow::audio {

enum class Padding {
  reflect,
  zero
};  ///< what lies beyond the ends: the mirrored signal (its end not repeated) or silence

/// How a signal is cut into frames. The defaults are WaveGlow's and its denoiser's.
struct StftOptions {
  int n_fft = 1024;       ///< samples, even
  int hop_length = 256;   ///< samples
  int win_length = 1024;  ///< samples; a periodic Hann window, centred in n_fft
  Padding pad = Padding::reflect;
  bool centre = true;  ///< pad n_fft/2 each side; false: (n_fft - hop_length)/2

  int bins() const { return n_fft / 2 + 1; }
  /// Samples added at each end.
  int pad_length() const { return centre ? n_fft / 2 : (n_fft - hop_length) / 2; }
  /// Samples that a signal must have at least: to be padded, and to fill a frame.
  int64_t shortest() const;
  /// Frames of a signal of that many samples, 0 where it is shorter than shortest().
  int64_t frames(int64_t samples) const;

  bool operator==(const StftOptions&) const = default;
};

/// 0.5 - 0.5·cos(2πt/length): the periodic Hann window.
std::vector<double> hann_window(int length);

/// out[i] = sample begin + i of the signal as it is continued beyond its ends, by less than its length.
void copy_padded(std::span<const float> samples, Padding pad, int64_t begin, std::span<float> out);

/// Writes frame number `frame` of the signal, times the window [win_length], to the middle of out [n_fft].
/// What lies outside the window is left as it is.
void load_frame(const StftOptions& options, std::span<const float> samples, std::span<const double> window,
                int64_t frame, std::span<double> out);

/// Complex spectrogram, one frame after the other: what is computed together lies together.
struct Spectrogram {
  int frames = 0;
  int bins = 0;
  std::vector<std::complex<float>> values;  ///< [frames, bins]

  std::span<std::complex<float>> frame(int index) {
    return {values.data() + static_cast<ptrdiff_t>(index) * bins, static_cast<size_t>(bins)};
  }
  std::span<const std::complex<float>> frame(int index) const {
    return {values.data() + static_cast<ptrdiff_t>(index) * bins, static_cast<size_t>(bins)};
  }
};

/// Short-time Fourier transform and its weighted-overlap-add inverse. One object serves one thread.
class Stft {
 public:
  /// Throws Error{config} where the options make no sense.
  explicit Stft(const StftOptions& options);

  const StftOptions& options() const { return options_; }

  /// Throws Error{bad_data} where the signal is too short to be padded.
  Spectrogram forward(std::span<const float> samples);
  void forward(std::span<const float> samples, Spectrogram& out);  ///< the same into memory that is reused

  /// x[t] = Σ w·frame / Σ w², trimmed of the padding to `samples` samples: the least-squares signal, and forward's
  /// input again where the spectrogram is unchanged. Samples that no frame reaches are 0.
  std::vector<float> inverse(const Spectrogram& spectrogram, int64_t samples);

 private:
  StftOptions options_;
  std::vector<double> window_;  ///< [win_length]
  RealFft fft_;
};

}  // namespace melflow::audio
