#pragma once

#include <algorithm>
#include <vector>

#include "models/block_flow_options.h"
#include "models/vocoder.h"

namespace melflow::models {

/// A small vocoder for CPUs: causal in the waveform, parallel to train, one short network a block to sample.
/// Two triangular maps, both steered by the mel:
///   1. whitening: e_t = Σ_k a_k x_{t-k} / σ_t, where A = exp(-Σ_{n≥1} c_n z^-n) is the minimum-phase inverse of a
///      spectrum whose cepstrum c the encoder predicts, a linear prediction with envelope and pitch in one filter;
///   2. block b of e given everything before it: z_b = (e_b - μ_b)·exp(-s_b), (μ_b, s_b) from a network that sees
///      the past of e and x; by attention over lags, what followed the earlier moments most like now; and two guesses
///      of the block by real-time spectrogram inversion (Beauregard, Zhu & Wyse 2005): the continuation of the past
///      that makes its spectrum that of the mel. The guesses carry the mel's error back, so that nothing drifts.
/// log|det| = -Σ (ln σ_t + s_t). Levels cancel: everything is computed relative to a gain read off the mel.
/// The whitening is the maximum-likelihood linear prediction of Itakura & Saito (1968) made conditional.
/// Sampling feeds the past back. What keeps it near the mel's loudness, whatever filter and network say
/// (block_flow_limits.cpp): A stays minimum phase when it is cut to its taps; white noise of level σ through 1/A is at
/// most kLevelLimit times as loud as the mel, of level σ·exp(s) or σ·|μ| kBlockLimit times (the cut may double that);
/// and a past that is louder than any sound of this mel, where the mel hears, is heard by neither. Recordings seldom
/// reach these limits (docs/BENCHMARKS.md). The map stays triangular: any function of the past may be in it.
class BlockFlow : public Vocoder, public BlockFlowConstants {
 public:
  explicit BlockFlow(const BlockFlowOptions& options);

  Mapped forward(const torch::Tensor& x, const torch::Tensor& mel) override;
  /// z may be several draws of noise, [batch, draws·group, blocks]: each block takes the one after which the spectrum
  /// of what was spoken so far is nearest that of the mel (choose). Best of n, a step towards the p(x | mel) in which
  /// the mel is certain: the network knows only the density of sounds, which it spreads.
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& mel) override;

  /// Of the division by the filter's level, "level", and of the network's scales, "network"; the filter itself has
  /// none.
  std::vector<std::pair<std::string, double>> volumes(const torch::Tensor& x, const torch::Tensor& mel) override;

  int64_t group_size() const override { return options_.group_size; }
  int64_t hop_length() const override { return options_.hop_length; }
  int64_t n_mels() const override { return options_.n_mels; }
  Reach reach() const override { return options_.reach(); }
  int64_t warmup_frames() const override;
  /// Must be called once on a new model (a loaded one has it among its tensors): the guesses need the mel's inverse.
  void set_filterbank(const torch::Tensor& filterbank) override;
  void start_from(const Vocoder& other) override;  ///< block_flow_training.cpp
  void seed_training_noise(const std::vector<uint64_t>& seeds) override { noise_seeds_ = seeds; }
  const BlockFlowOptions& options() const { return options_; }

 private:
  /// What the mel says about each block. Every tensor is [batch, blocks, …].
  struct Guide {
    torch::Tensor taps;              ///< [.., filter_taps], taps_0 = 1
    torch::Tensor log_gain;          ///< [..], read off the mel
    torch::Tensor limit;             ///< [.., 1] of the filter's view of the past
    torch::Tensor most;              ///< [.., 1], largest s, and ln of the largest |μ|
    torch::Tensor log_sigma;         ///< [..], log_gain + c_0, limited: the level of the residual
    torch::Tensor film;              ///< [.., 2·hidden]
    torch::Tensor lag_bias;          ///< [.., lags]
    torch::Tensor magnitude;         ///< [.., bins] of the STFT centred at the block's start
    torch::Tensor magnitude_behind;  ///< the same kBehind samples before: in the middle of the first guess's window
    torch::Tensor loudness_behind;   ///< [.., 1] of the mel there
    torch::Tensor heard_bins;  ///< [bins] of the STFT: 1 from the first of which the mel knows to the last, else 0
  };
  /// Everything before a block. Every tensor is [.., samples], the most recent last.
  struct Past {
    torch::Tensor e, x;   ///< [.., past]; x over the gain
    torch::Tensor raw;    ///< [.., kInversionPast] of x
    torch::Tensor trust;  ///< [.., 1] in it, from 0 to 1
    torch::Tensor heard;  ///< [.., filter_taps] of x, as the filter hears it
  };
  /// What the encoder makes of a mel [batch, n_mels, frames or more].
  struct Features {
    torch::Tensor features;  ///< [batch, frames + 1, encoder_channels]
    torch::Tensor mel;       ///< [batch, frames + 1, n_mels], the last frame repeated, bounded
    torch::Tensor level;     ///< [batch, frames + 1, 1], read off the mel
  };
  Features encode(const torch::Tensor& mel, int64_t frames);
  Guide guide(const torch::Tensor& mel, int64_t frames);
  static Guide at(const Guide& guide, int64_t block);
  /// Adds noise to what the network sees of the past, as much of it in each item as its seed says.
  void perturb(Past& past) const;
  /// Cepstrum [.., cepstrum] from quefrency 1 on → ln A^-1 [.., bins], bounded.
  torch::Tensor log_inverse(const torch::Tensor& cepstrum) const;
  /// Root mean square [.., 1] of a sound by the squares [.., bins] of its STFT.
  static torch::Tensor loudness(const torch::Tensor& square);
  /// The ln σ [.., 1] at which white noise of level σ, filtered by 1/A, is as loud as said; log_inverse is ln A^-1. It
  /// is concave in that: between frames noise is no louder, over the mel, than at the louder of both.
  static torch::Tensor proper_level(const torch::Tensor& log_inverse, const torch::Tensor& loudness);
  /// ln A^-1 [.., bins] → taps [.., filter_taps], minimum phase. Cut at M taps, A errs by T = A - A_M. Where |T| >
  /// c·|A|, c = kCutLimit, the zeros of A are drawn inwards first, a_n·ρ^n with ρ^M = c·min|A/T|. T/A = z^-M·S(z) with
  /// S analytic outside the unit circle, so drawing divides max|T/A| by ρ^-M at least (maximum modulus): |T| ≤ c·|A|.
  /// Then A_M has its zeros inside as A has (Rouché), and 1/A_M is at most 1/(1 - c) times 1/A as it was drawn, at any
  /// frequency. For that kFineFft bins are taken: of the poles' radius, kPoleRadius, so many samples leave 5e-6.
  torch::Tensor cut(const torch::Tensor& log_inverse) const;
  torch::Tensor heard_bins() const;
  /// [batch, frames + 1, n] → [batch, blocks, n]: linear between frames, kBehind samples before each block's start.
  torch::Tensor behind(const torch::Tensor& at_frames, int64_t blocks) const;
  /// [batch, frames + 1, n] → [batch, blocks, n]: linear between frames, at this fraction of each block.
  torch::Tensor to_blocks(const torch::Tensor& at_frames, double fraction = 0.5) const;
  /// What the network sees of the past, side by side: each [.., n].
  std::vector<torch::Tensor> context(const Past& past, const Guide& guide);
  torch::Tensor lag_weights(const Past& past, const torch::Tensor& lag_bias);
  torch::Tensor guess(const torch::Tensor& past, const torch::Tensor& magnitude, int iterations) const;
  /// What the samples [.., past_length()] before a block are to it, but for e.
  Past past_of(const torch::Tensor& samples, const Guide& guide) const;
  int64_t past_length() const { return std::max(options_.past, kInversionPast); }
  /// 1, falling to 0 where the past is louder, in the bins that the mel hears, than any sound of this mel.
  torch::Tensor trust(const torch::Tensor& past, const Guide& guide) const;
  /// → (μ, s), each [.., group].
  std::pair<torch::Tensor, torch::Tensor> predict(const Past& past, const Guide& guide);
  /// Σ_k taps_k·segment_{t-k} for the last group_size samples of segment [.., taps + group].
  torch::Tensor filter(const torch::Tensor& segment, const torch::Tensor& taps) const;
  /// Of the noise [batch, draws, group] the draw [batch, group] whose block x makes Σ_bins (|STFT| - magnitude)² least,
  /// in the window centred at the block's start, silence behind the block.
  torch::Tensor choose(const torch::Tensor& draws, const torch::Tensor& mu, const torch::Tensor& s, const Past& past,
                       const Guide& guide) const;
  /// The samples [batch, group] whose residual is `residual`.
  torch::Tensor unfilter(const torch::Tensor& residual, const Past& past, const Guide& guide) const;

  BlockFlowOptions options_;
  std::vector<uint64_t> noise_seeds_;
  std::vector<torch::nn::Conv1d> encoder_;
  torch::nn::Linear cepstrum_{nullptr}, film_{nullptr}, lag_bias_{nullptr}, past_{nullptr}, out_{nullptr};
  std::vector<torch::nn::Linear> layers_;
  torch::Tensor mel_to_magnitude_;  // [n_mels, bins], the pseudo-inverse of the filterbank: a buffer
  torch::Tensor window_;            // [kFft] Hann
  torch::Tensor sharpness_;         // [2], ln of the weight of a correlation in the attention: of e and of x
};

}  // namespace melflow::models
