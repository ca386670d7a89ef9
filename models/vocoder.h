#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/flow/bijection.h"
#include "models/model_shape.h"

namespace melflow::models {

/// A bijection between sound and noise given a mel: forward x [batch, samples] → z [batch, group, samples/group] with
/// the context mel [batch, n_mels, frames]. samples is a multiple of hop_length, frames at least samples/hop_length;
/// frames beyond that are used where the model looks ahead, and missing ones repeat the last. Rows of z are in the
/// order in which the forward pass emits them. Mapped::local is always defined: [batch, samples/group].
class Vocoder : public Bijection {
 public:
  virtual int64_t group_size() const = 0;
  virtual int64_t hop_length() const = 0;
  virtual int64_t n_mels() const = 0;
  virtual Reach reach() const = 0;
  /// Frames at the start of a crop that only serve as the past of the others: a training leaves them out of its loss.
  virtual int64_t warmup_frames() const { return 0; }
  /// Asks for backward passes that keep no activations (flow/reversible.h). Whether this model has them.
  virtual bool set_reversible(bool /*on*/) { return false; }
  /// Seeds, one for each item of the next batches, of what a model in training adds to them (a BlockFlow: noise on the
  /// past); so it belongs to the item, however a batch is shared out. None: LibTorch's own generator.
  virtual void seed_training_noise(const std::vector<uint64_t>& /*seeds*/) {}
  /// The mean log-determinant of each part, in nats a sample, by name: the curves of a training. Of x, mel as
  /// forward().
  virtual std::vector<std::pair<std::string, double>> volumes(const torch::Tensor& /*x*/,
                                                              const torch::Tensor& /*mel*/) {
    return {};
  }
  /// Takes the weights of a model of the same kind and size; a BlockFlow may be larger than the one that it begins as
  /// (Net2Net, Chen et al. 2016): it computes the same, and the numbers that are new are there to be trained.
  /// Throws std::invalid_argument where the other is no such model.
  virtual void start_from(const Vocoder& other);
  /// Tells a new model the filterbank [n_mels, n_fft/2 + 1] of its mels; most have no use for it.
  virtual void set_filterbank(const torch::Tensor& /*filterbank*/) {}
};

/// Negative log-likelihood of each position, in nats per sample without the constant ½ln(2π):
/// (½ Σ_channels z² - local) / group, [batch, groups]. The reference's loss at sigma 1, before its mean.
torch::Tensor nats_by_group(const Mapped& mapped, int64_t group_size);

}  // namespace melflow::models
