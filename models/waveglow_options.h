#pragma once

#include "models/model_shape.h"

namespace melflow::models {

/// How the mel reaches the couplings.
enum class Conditioning {
  sample_rate,  ///< a transposed convolution to the sample rate, then grouped: n_mels·group_size channels (published)
  frame_rate,   ///< two convolutions at the frame rate, each frame then serving hop/group_size groups (our voices)
};

/// The sizes of models::WaveGlow, and all that follows from them alone. Knows nothing of LibTorch.
struct WaveGlowOptions {
  int64_t n_mels = 80;
  int64_t hop_length = 256;  ///< samples a mel frame
  int64_t n_flows = 12;
  int64_t group_size = 8;          ///< n_group: samples folded into channels
  int64_t early_every = 4;         ///< flows between early outputs
  int64_t early_size = 2;          ///< channels that leave each time
  int64_t upsample_kernel = 1024;  ///< sample_rate conditioning only
  Conditioning conditioning = Conditioning::sample_rate;
  int64_t context_channels = 128;  ///< frame_rate conditioning only
  int64_t wavenet_layers = 8, wavenet_channels = 256, wavenet_kernel = 3, wavenet_dilation_cycle = 0;
  bool swap_odd_halves = false;  ///< NVIDIA's first release (2018): in odd flows the second half steers the first

  /// Throws std::invalid_argument.
  void validate() const;
  /// The numbers in the largest layers: what a model costs, known before it is built.
  double weight_count() const;
  /// What the WaveNets are told: channels at each group, or at each frame.
  int64_t context_size() const;
  int64_t dilation(int64_t layer) const;
  /// Groups to each side that one flow's WaveNet sees: Σ dilation·(kernel - 1)/2.
  int64_t flow_side() const;
  Reach reach() const;
  /// Frames of mel that must be there before the first sample leaves.
  int64_t first_sample_frames() const;
  /// Every tensor of the model, by its name.
  TensorShapes tensors() const;
};

}  // namespace melflow::models
