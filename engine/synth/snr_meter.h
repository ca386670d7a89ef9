#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace melflow::engine {

/// How far a hasty stream is from the exact one: both append what they make, in any pieces.
struct SnrMeter {
  std::vector<float> truth, said;  ///< what came out of each and has not been compared

  void compare() {
    const auto count = static_cast<ptrdiff_t>(std::min(truth.size(), said.size()));
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      signal += static_cast<double>(truth[i]) * truth[i];
      error += std::pow(static_cast<double>(said[i]) - truth[i], 2);
    }
    truth.erase(truth.begin(), truth.begin() + count);
    said.erase(said.begin(), said.begin() + count);
  }
  /// Of what was compared, in decibels; infinite where there is no error.
  double db() const {
    return error == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(std::max(signal, 1e-30) / error);
  }

 private:
  double signal = 0, error = 0;  // energies
};

}  // namespace melflow::engine
