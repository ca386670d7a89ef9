#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "audio/lane_fft.h"
#include "audio/refine.h"
#include "audio/refining_bank.h"

namespace melflow::audio {

/// What refine() does, for sounds that are still arriving, all frames of a pass at once, a SIMD lane each. The same
/// samples however they and the frames are cut; memory does not grow.
class Refiner {
 public:
  /// Throws Error{config} where why_not() says something.
  Refiner(const MelOptions& recipe, const RefineOptions& options);
  /// Why a sound of the recipe cannot be refined so: n_fft is no power of two that hop_length divides, or the delay is
  /// less than RefineOptions::least_delay or more than there are lanes for. Empty where it can.
  static std::string why_not(const MelOptions& recipe, const RefineOptions& options);

  /// Takes frames [count, n_mels] and samples, any number of each: of every frame hop_length samples belong to it.
  /// Appends those that are finished to out, RefineOptions::delay hops after they came.
  void push(std::span<const float> frames, std::span<const float> samples, std::vector<float>& out);
  /// The sound has ended: appends the rest. As many samples come out as went in.
  void finish(std::vector<float>& out);

 private:
  void take_rows(std::vector<float>& out);
  void drop_row();
  void correct();
  void find_gains();
  void give(int64_t rows, std::vector<float>& out);
  float at(int64_t place) const;

  MelOptions recipe_;
  RefineOptions options_;
  int64_t hop_, pad_, rows_in_frame_;
  RefiningBank bank_;
  // Places count from the beginning of the padding before the sound; a row is a hop of them. Rows lie transposed,
  // [hop_length, stride]: the same place of neighbouring rows side by side, so that a lane is a frame.
  size_t lanes_;  // room for the frames of the window
  int64_t stride_;
  std::vector<int32_t> places_;  // [n_fft]: where in the rows sample t of the window's first frame lies
  FloatLaneFft analysis_, synthesis_;
  std::vector<float> scale_;  // [n_fft]: of a frame's change, window / overlap / n_fft

  std::vector<float> waiting_;     // the first samples; then what is no whole row, or whose frame is still to come
  std::vector<float> targets_;     // [frames, bands] that are not complete: what is wanted of them, the oldest first
  bool started_ = false;           // the padding before the sound is there
  int64_t taken_ = 0, given_ = 0;  // samples in and out
  int64_t rows_ = 0, given_rows_ = 0;  // that are there, and that are given out
  int64_t first_row_ = 0;              // of the window, and its first frame
  int64_t frames_ = 0;                 // in the window
  std::vector<float> x_, v_;           // the sound, and how it changed in the last pass
  std::vector<float> wanted_;          // [bands, lanes]: the same in the window
  std::vector<float> live_;            // [lanes]: 1 where there is a frame, else 0
  std::vector<float> y_;               // what a pass starts from, then its result
  std::vector<float> spectrum_;        // [bins, 2, lanes]
  std::vector<float> magnitudes_;      // [bins, lanes]
  std::vector<float> bands_;           // [bands, lanes], then gains
  std::vector<float> gains_;           // [bins, lanes]: 1 where no band hears
  std::vector<float> hartley_;         // [n_fft, lanes]
};

}  // namespace melflow::audio
