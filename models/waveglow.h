#pragma once

#include <memory>
#include <vector>

#include "models/flow/chain.h"
#include "models/flow/conv1x1.h"
#include "models/flow/coupling.h"
#include "models/flow/reversible.h"
#include "models/nets/wavenet.h"
#include "models/vocoder.h"
#include "models/waveglow_options.h"

namespace melflow::models {

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
  Reach reach() const override { return options_.reach(); }
  bool set_reversible(bool on) override;
  std::vector<std::pair<std::string, double>> volumes(const torch::Tensor& x, const torch::Tensor& mel) override;
  const WaveGlowOptions& options() const { return options_; }

 private:
  /// The maps of the n_flows steps in the order of forward(), a list for each stretch between early outputs.
  using Levels = std::vector<std::vector<std::shared_ptr<Bijection>>>;
  // What the constructor does, in this order: the parameters' names, their order and first values depend on it.
  void register_conditioning();
  Levels register_flows();
  void list_steps(const Levels& levels);
  std::shared_ptr<Bijection> nested(Levels levels) const;  // behind steps_.front(), the squeeze

  torch::Tensor context(const torch::Tensor& whole_mel, int64_t groups);
  /// The transposed convolution as one product, hop after hop added up, where gradients are wanted on a CPU: ATen's own
  /// takes a tenth of a training step. [batch, groups, n_mels·group_size].
  torch::Tensor upsampled_rows(const torch::Tensor& mel, int64_t groups);

  WaveGlowOptions options_;
  torch::nn::ConvTranspose1d upsample_{nullptr};
  torch::nn::Sequential encoder_{nullptr};
  std::vector<Step> steps_;  // from data to noise, flat
  bool reversible_ = false;
  std::shared_ptr<Bijection> chain_;  // the same, nested by early outputs; built from the registered steps; not
                                      // registered itself, to keep names flat
};

}  // namespace melflow::models
