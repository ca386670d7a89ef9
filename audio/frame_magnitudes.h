#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/lane_fft.h"
#include "audio/stft.h"

namespace melflow::audio {

/// Magnitude spectra of neighbouring frames, a SIMD lane for each: by LaneFft where it serves n_fft, else by RealFft,
/// frame after frame. The digits of a frame depend on its samples alone. One object serves one thread.
class FrameMagnitudes {
 public:
  static constexpr int kLanes = kFftLanes;

  /// The first `bins` bins, sqrt(|X[k]|² + epsilon): the sum in double, the root in single precision.
  FrameMagnitudes(const StftOptions& options, int bins, double epsilon);

  /// Of frames [first, first + count) of the signal, count ≤ kLanes. The answer is [bins, kLanes] and lives until the
  /// next call; lanes that follow are undefined.
  const float* operator()(std::span<const float> samples, int64_t first, int count);

 private:
  void load_rows(std::span<const float> samples, int64_t first, int count);
  void transform_singly(std::span<const float> samples, int64_t first, int count);

  StftOptions options_;
  int bins_;
  double epsilon_;
  std::vector<float> out_;  // [bins, kLanes]

  // For LaneFft the signal is cut into rows of one hop and transposed, so that the same sample of neighbouring frames
  // lies side by side, and a sample lies there once, however many frames see it.
  std::optional<LaneFft> lanes_;
  int needed_ = 0;              // rows that kLanes frames see
  int stride_ = 0;              // the same as whole blocks
  std::vector<float> columns_;  // [hop_length, stride], then kLanes zeros for what lies outside the window

  std::optional<RealFft> single_;
  std::vector<double> window_;  // [win_length]

  // What is to be transposed: rows that reach beyond the signal's ends [a block, hop_length], or by RealFft the
  // magnitudes [kLanes, bins].
  std::vector<float> rows_;
};

}  // namespace melflow::audio
