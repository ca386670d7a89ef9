#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "audio/sparse_bank.h"

namespace melflow::audio {

/// What refining a sound knows of its mel: the filterbank and, behind its bands, one more over all bins that no band
/// hears above f_max, which is not to be brought to anything but kept from being absurd.
class RefiningBank {
 public:
  /// Throws Error{config} where why_not() says something.
  explicit RefiningBank(const MelOptions& recipe);
  /// Why a sound of the recipe cannot be refined: hop_length does not divide n_fft; empty where it does.
  static std::string why_not(const MelOptions& recipe);

  /// Limits of a band's gain in one pass; the treble's most is 1.
  static constexpr float kLeastGain = 0.135335283f, kMostGain = 7.38905610f;  // e^∓2

  /// Bands, the treble among them.
  int bands() const { return bank_.bands; }
  const SparseBank& bank() const { return bank_; }            ///< magnitudes → bands; of the treble, their mean
  const SparseBank& spreading() const { return spreading_; }  ///< gains of bands → of bins, bin after bin; sum to 1
  const std::vector<bool>& heard() const { return heard_; }   ///< [bins]: by any band; the others are left alone
  /// What a frame's bands should be, [bands], of its log-mel [n_mels].
  void wanted(std::span<const float> mel, std::span<float> out) const;

  /// The window, centred in n_fft, [n_fft], and the sum of its squares over the frames that meet at each place of a
  /// hop.
  const std::vector<double>& window() const { return window_; }
  const std::vector<double>& overlap() const { return overlap_; }

 private:
  SparseBank bank_, spreading_;
  std::vector<bool> heard_;
  std::vector<float>
      top_octave_;  // [n_mels]: what makes a band the mean magnitude of its bins, times the treble's limit; or 0
  std::vector<double> window_, overlap_;
};

}  // namespace melflow::audio
