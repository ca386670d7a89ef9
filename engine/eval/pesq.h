#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "audio/waveform.h"

namespace melflow::engine {

/// PESQ (ITU-T P.862.2, wide band, 16 kHz: 1 bad … 4.64 same) of pairs of sounds. The standard's code is not free to
/// ship, so the PyPI package `pesq` does it, where a Python that has it is found: the one that MELFLOW_PYTHON names,
/// else python3. It is started once, over WAV files in a temporary folder, with an argument list and no shell.
class PesqRun {
 public:
  /// Makes the folder. Throws Error{cannot_create}.
  PesqRun();
  ~PesqRun();
  PesqRun(const PesqRun&) = delete;
  PesqRun& operator=(const PesqRun&) = delete;

  /// Writes the pair into the folder, at 16 kHz. Throws Error{io_error, cannot_create} where it has no room.
  void add(const audio::Waveform& reference, const audio::Waveform& degraded);

  /// How many were added: the place of the next one's score.
  size_t pairs() const { return pairs_; }

  struct Result {
    std::vector<double> scores;  ///< one for each pair in the order of add(); NaN where PESQ finds no speech
    std::string absent;          ///< why there is none; empty where there is
  };
  /// `stop` is asked between pairs; where it says so, the pairs that are left stay NaN. A Python that is missing or
  /// fails is told in `absent`. Throws Error{io_error} where the system has no pipe for it.
  Result finish(const std::function<bool()>& stop);

 private:
  std::filesystem::path folder_;
  size_t pairs_ = 0;
};

}  // namespace melflow::engine
