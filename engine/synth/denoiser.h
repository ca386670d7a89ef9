#pragma once

#include <span>
#include <vector>

#include "audio/fft.h"
#include "audio/mel.h"
#include "engine/synth/stream.h"

namespace melflow::engine {

/// The magnitude spectrum of what a voice hums without noise: the first STFT frame of inverse(0, mel of zeros, 88
/// frames), as NVIDIA's denoiser takes it. [513]
std::vector<float> denoiser_bias(const StreamSource& source, const audio::MelOptions& recipe);

/// NVIDIA's denoiser: every STFT frame (1024 samples, hop 256, reflected ends) loses strength·bias from its magnitude
/// and keeps its phase. Samples go in and come out in pieces, the same for every way of cutting them; the delay is at
/// most 1024 samples, and memory does not grow.
class Denoiser {
 public:
  static constexpr int kFft = 1024, kHop = 256;
  /// Samples to each side on which one depends, the reflected ends included.
  static constexpr int kReach = kFft + kFft / 2;

  Denoiser(std::vector<float> bias, float strength);

  /// Takes samples, appends those that are finished to out.
  void push(std::span<const float> samples, std::vector<float>& out);
  /// The signal has ended: appends the rest. As many samples come out as went in.
  void finish(std::vector<float>& out);

 private:
  void take(float sample, std::vector<float>& out);
  void add_frame();
  void give_hop(std::vector<float>& out);

  std::vector<float> bias_;  // [bins], times the strength
  std::vector<float> window_, frame_, sum_, weight_;
  std::vector<float> head_;  // the first samples, until there are enough to reflect
  bool started_ = false;
  size_t filled_ = 0;              // samples of frame_ that are there
  int64_t taken_ = 0, given_ = 0;  // samples in and out, without the reflected ends
  int64_t skip_ = 0;               // padding still to be dropped at the front
  std::vector<float> tail_;        // the last samples, to reflect at the end
  audio::RealFft fft_;
};

}  // namespace melflow::engine
