#pragma once

#include <memory>
#include <vector>

#include "models/flow/chain.h"
#include "models/flow/conv1x1.h"
#include "models/flow/coupling.h"
#include "models/nets/wavenet.h"
#include "models/vocoder.h"

namespace melflow::models {

/// How the mel reaches the couplings.
enum class Conditioning {
  sample_rate,  ///< a transposed convolution to the sample rate, then grouped: n_mels·group_size channels (published)
  frame_rate,   ///< two convolutions at the frame rate, each frame then serving hop/group_size groups (our voices)
};

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

  void validate() const;
  /// The numbers in the largest layers: what a model costs, known before it is built.
  double weight_count() const;
};

/// WaveGlow (Prenger, Valle & Catanzaro 2018), exactly as NVIDIA published it, and its smaller relatives by
/// configuration. Each of the n_flows steps is a 1x1 convolution, then an affine coupling by a WaveNet.
class WaveGlow : public Vocoder {
 public:
  explicit WaveGlow(const WaveGlowOptions& options);

  Mapped forward(const torch::Tensor& x, const torch::Tensor& mel) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& mel) override;

  int64_t group_size() const override { return options_.group_size; }
  int64_t hop_length() const override { return options_.hop_length; }
  int64_t n_mels() const override { return options_.n_mels; }
  Reach reach() const override;
  const WaveGlowOptions& options() const { return options_; }

 private:
  torch::Tensor context(const torch::Tensor& mel, int64_t groups);

  WaveGlowOptions options_;
  torch::nn::ConvTranspose1d upsample_{nullptr};
  torch::nn::Sequential encoder_{nullptr};
  std::shared_ptr<Bijection> chain_;  // built from the registered steps; not registered itself, to keep names flat
};

}  // namespace melflow::models
