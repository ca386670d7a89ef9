#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "audio/mel.h"
#include "base/error.h"

namespace melflow::engine {

/// An input that could not be worked on: one line that names the file and what is wrong, and its exit code.
struct Failure {
  std::string message;
  Exit code = Exit::bad_data;
};

/// Which recordings of a folder to look at.
struct RecordingChoice {
  int64_t hold_out_every = 0;  ///< only every such file in the order of paths, as a training keeps them out; 0: all
  int64_t limit = 0;           ///< no more than so many; 0: all
};

struct ChosenRecordings {
  std::vector<std::filesystem::path> paths;  ///< sorted
  std::vector<Failure> refused;              ///< what a training refuses too, by its header, and does not count
};

/// With hold_out_every this is the set that a training with the same recipe and the same number kept out: files that a
/// training refuses by their headers are not counted. Throws Error{no_input} where
/// nothing is left.
ChosenRecordings choose_recordings(const std::filesystem::path& folder, const audio::MelOptions& recipe,
                                   const RecordingChoice& choice);

}  // namespace melflow::engine
