#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace melflow::gpu {

/// A WaveGlow with conditioning at the sample rate (NVIDIA's published model and its relatives of other sizes) as plain
/// numbers: weight norm folded, tensors C-contiguous in the shapes and with the names of the published checkpoints.
struct PlainWaveGlow {
  struct Sizes {
    int n_mels = 80, hop_length = 256, n_flows = 12, group_size = 8, early_every = 4, early_size = 2;
    int upsample_kernel = 1024;
    int layers = 8, channels = 256, kernel = 3, dilation_cycle = 0;  ///< of the WaveNets; cycle 0: dilation 2^layer

    int context_channels() const { return n_mels * group_size; }
    int groups_per_frame() const { return hop_length / group_size; }
    int upsample_taps() const { return (upsample_kernel + hop_length - 1) / hop_length; }
    int flow_channels(int flow) const { return group_size - flow / early_every * early_size; }
    int dilation(int layer) const { return 1 << (dilation_cycle > 0 ? layer % dilation_cycle : layer); }
    /// Multiplications and additions, twos of them counted as two, for a group of samples; as they are published: 162 M
    /// for 8 samples at 256 channels. What folding saves is not subtracted.
    double flops_per_group() const;
    /// The same where skips are folded into `end`, and upsampling into the conditioning: 150 M.
    double folded_flops_per_group() const;
  };
  struct Layer {
    std::vector<float> in_weight, in_bias;      ///< [2·channels, channels, kernel], [2·channels]
    std::vector<float> cond_weight, cond_bias;  ///< [2·channels, context_channels], [2·channels]
    std::vector<float> out_weight, out_bias;    ///< res_skip: [2·channels, channels], the last [channels, channels]
  };
  struct Flow {
    std::vector<float> conv;                      ///< [c, c]
    std::vector<float> start_weight, start_bias;  ///< [channels, c / 2], [channels]
    std::vector<Layer> layers;
    std::vector<float> end_weight, end_bias;  ///< [2·(c - c / 2), channels], shift first
  };

  Sizes sizes;
  std::vector<float> upsample_weight, upsample_bias;  ///< [n_mels in, n_mels out, upsample_kernel], [n_mels]
  std::vector<Flow> flows;                            ///< in the order of the forward pass, as published

  /// Every tensor in this order: upsample; of each flow conv, start, each layer's in, cond and out, end; weights before
  /// biases.
  template <typename Visit>
  void each(Visit&& visit) {
    visit(upsample_weight);
    visit(upsample_bias);
    for (auto& f : flows) {
      for (auto* t : {&f.conv, &f.start_weight, &f.start_bias}) visit(*t);
      for (auto& l : f.layers) {
        for (auto* t : {&l.in_weight, &l.in_bias, &l.cond_weight, &l.cond_bias, &l.out_weight, &l.out_bias}) visit(*t);
      }
      for (auto* t : {&f.end_weight, &f.end_bias}) visit(*t);
    }
  }

  /// Zeros of the right number everywhere.
  static PlainWaveGlow zeros(const Sizes& sizes);
  /// As published before training, but with an `end` that is not zero, so that every number counts; a pure function of
  /// the seed.
  static PlainWaveGlow random(const Sizes& sizes, uint64_t seed);

  /// From the parameters of a models::WaveGlow by their names, each C-contiguous, weight norm folded: a normed
  /// convolution is asked for as NAME.weight, like any other.
  static PlainWaveGlow from(const Sizes& sizes, const std::function<std::vector<float>(const std::string&)>& parameter);

  /// mel [frames, n_mels], z [groups, group_size] (rows in the order of the forward pass's output, sigma included) →
  /// samples [frames·hop_length], in double and in the order of the published code: what every kernel is measured by.
  /// Shared among `threads`. Each group is 162 MFLOP at the paper's size.
  std::vector<double> inverse(const std::vector<float>& mel, const std::vector<float>& z, int threads) const;
};

}  // namespace melflow::gpu
