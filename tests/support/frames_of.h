#pragma once

#include <vector>

#include "audio/mel.h"

namespace melflow::testing {

/// [frames, n_mels], frame after frame.
inline std::vector<float> frames_of(const audio::Mel& mel) {
  std::vector<float> out;
  for (int t = 0; t < mel.frames; ++t) {
    for (int m = 0; m < mel.n_mels; ++m) out.push_back(mel.values[static_cast<size_t>(m * mel.frames + t)]);
  }
  return out;
}

}  // namespace melflow::testing
