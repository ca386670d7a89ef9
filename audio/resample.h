#pragma once

#include <memory>
#include <span>
#include <vector>

namespace melflow::audio {

/// Band-limited rate conversion (soxr, 28 bit, linear phase); llround(n·to/from) samples, in step with the input.
std::vector<float> resample(std::span<const float> samples, int from_hz, int to_hz);

/// resample() for sound that is still arriving. What comes out does not depend on how it was cut.
class StreamResampler {
 public:
  StreamResampler(int from_hz, int to_hz);  ///< of one rate: samples as they are, at once
  ~StreamResampler();
  StreamResampler(StreamResampler&&) noexcept;
  StreamResampler& operator=(StreamResampler&&) noexcept;

  /// Takes samples, appends those that are ready: they lag by the length of the filter, some milliseconds.
  void push(std::span<const float> samples, std::vector<float>& out);
  /// No sample follows: appends the rest. Afterwards it stands at the beginning of another sound.
  void finish(std::vector<float>& out);
  /// Forgets what it has taken.
  void reset();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace melflow::audio
