#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "audio/mel.h"
#include "base/error.h"
#include "engine/data/clips.h"

namespace melflow::engine {

/// An input that could not be worked on: one line that names the file and what is wrong, and its exit code.
struct Failure {
  std::string message;
  Exit code = Exit::bad_data;
};

/// Which recordings of a corpus to look at.
struct RecordingChoice {
  int64_t hold_out_every = 0;  ///< only every such recording in a training's order, which keeps them out; 0: all
  int64_t limit = 0;           ///< no more than so many; 0: all
};

struct ChosenRecordings {
  Clips clips;                   ///< in a training's order
  std::vector<Failure> refused;  ///< what a training refuses too, by its header, and does not count
};

/// With hold_out_every this is the set that a training with the same --data, the same recipe and the same number kept
/// out: what a training refuses by its header is not counted. Throws Error{no_input} where nothing is left.
ChosenRecordings choose_recordings(const std::vector<std::filesystem::path>& data, const audio::MelOptions& recipe,
                                   const RecordingChoice& choice);

}  // namespace melflow::engine
