#pragma once

#include <algorithm>
#include <vector>

#include "audio/mel.h"

namespace melflow::audio {

/// A mel filterbank as its non-zero entries, band after band.
struct SparseBank {
  struct Entry {
    int band, bin;
    float weight;
  };
  std::vector<Entry> entries;
  int bands, bins;

  explicit SparseBank(const MelOptions& recipe) : bands(recipe.n_mels), bins(recipe.n_fft / 2 + 1) {
    const std::vector<double> dense = mel_filterbank(recipe);
    for (int m = 0; m < bands; ++m) {
      for (int k = 0; k < bins; ++k) {
        const double w = dense[static_cast<size_t>(m) * static_cast<size_t>(bins) + static_cast<size_t>(k)];
        if (w > 0.0) entries.push_back({m, k, static_cast<float>(w)});
      }
    }
  }

  /// out = bank · spectrum: [bins] → [bands].
  void apply(const std::vector<float>& spectrum, std::vector<float>& out) const {
    std::fill(out.begin(), out.end(), 0.0f);
    for (const Entry& e : entries) out[static_cast<size_t>(e.band)] += e.weight * spectrum[static_cast<size_t>(e.bin)];
  }
  /// out = bankᵀ · values: [bands] → [bins].
  void apply_transposed(const std::vector<float>& values, std::vector<float>& out) const {
    std::fill(out.begin(), out.end(), 0.0f);
    for (const Entry& e : entries) out[static_cast<size_t>(e.bin)] += e.weight * values[static_cast<size_t>(e.band)];
  }
};

}  // namespace melflow::audio
