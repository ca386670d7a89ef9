#pragma once

#include "models/model_shape.h"

namespace melflow::models {

/// Numbers that are the same for every BlockFlow.
struct BlockFlowConstants {
  static constexpr int64_t kLookahead = 4;  ///< frames to each side that the encoder's convolutions see, less those
                                            ///< between which it interpolates
  static constexpr int64_t kFft = 1024;     ///< of the cepstrum and the filter; at least taps + group_size
  static constexpr int64_t kInversionPast = 768;    ///< samples of the past that the first guess continues
  static constexpr int64_t kRecentPast = kFft / 2;  ///< that the second continues, and candidates: the window's
                                                    ///< middle is the block's start
  static constexpr int64_t kBehind = kInversionPast - kRecentPast;  ///< from the middle of the first's to the block
  static constexpr double kWindowEnergy = 3.0 / 8 * kFft;           ///< the sum of the squares of Hann's window
  static constexpr double kPastScale = 0.7, kLevelFloor = 1e-7, kCorrelationFloor = 1e-4, kScaleLimit = 3.0;
  static constexpr double kMagnitudeFloor = 1e-5, kResidualLimit = 20.0;
  static constexpr double kSpectrumLimit = 6.0;                      ///< of |ln A|: 52 dB to each side of the level
  static constexpr double kLowestLevel = -8.0, kHighestLevel = 2.0;  ///< of ln σ - ln gain
  static constexpr double kPoleRadius = 0.997;                       ///< largest radius of a pole of 1/A
  static constexpr double kLevelLimit = 4.0;  ///< of the loudness of noise of level σ behind the filter, over the mel's
  static constexpr double kBlockLimit = 12.0;   ///< the same of noise of level σ·exp(s), and of σ·|μ|
  static constexpr double kTrustedPast = 2.0;   ///< loudness of the past, over the mel's, up to which it counts
  static constexpr double kIgnoredPast = 3.0;   ///< and from which on it counts for nothing
  static constexpr int64_t kFineFft = 4096;     ///< of filters that are long
  static constexpr double kCutLimit = 0.5;      ///< of |A - A cut to its taps| over |A|, at any frequency
  static constexpr double kPastLimit = 8.0;     ///< at which the network's view of e and x/gain saturates
  static constexpr double kFilterLimit = 32.0;  ///< of |x/gain| in the filter's view of the past
  static constexpr double kMelLimit = 20.0;     ///< of |mel|: no sound is beyond it
};

/// The sizes of models::BlockFlow, and all that follows from them alone. Knows nothing of LibTorch.
struct BlockFlowOptions {
  int64_t n_mels = 80;
  int64_t hop_length = 256;
  int64_t group_size = 64;    ///< samples of a block; what one step of the sampler emits
  int64_t filter_taps = 512;  ///< of the whitening filter
  int64_t cepstrum = 320;     ///< highest quefrency, samples: pitch down to sample_rate/cepstrum is resolved
  int64_t encoder_channels = 256;
  int64_t hidden = 512;        ///< width of the block network
  int64_t layers = 2;          ///< gated layers of the block network
  int64_t past = 512;          ///< samples of the past that the block network sees, a multiple of hop_length
  int64_t lags = 320;          ///< of the lag attention, from group_size on
  int64_t correlation = 128;   ///< samples by which lags are compared
  double context_noise = 0.1;  ///< training only: noise on the past, relative, so that sampling forgives itself

  /// Throws std::invalid_argument.
  void validate() const;
  double weight_count() const;
  Reach reach() const { return {BlockFlowConstants::kLookahead, BlockFlowConstants::kLookahead + 1, true}; }
  /// Frames of mel that must be there before the first sample leaves.
  int64_t first_sample_frames() const { return BlockFlowConstants::kLookahead + 2; }
  /// Every tensor of the model, by its name.
  TensorShapes tensors() const;
};

}  // namespace melflow::models
