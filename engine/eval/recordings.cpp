#include "engine/eval/recordings.h"

#include "engine/data/clips.h"

namespace melflow::engine {

namespace fs = std::filesystem;

ChosenRecordings choose_recordings(const fs::path& folder, const audio::MelOptions& recipe,
                                   const RecordingChoice& choice) {
  ChosenRecordings out;
  int64_t usable = 0;
  const auto found = audio_files(folder);
  for (const auto& line : found.refused) out.refused.push_back({line, Exit::no_input});
  for (const auto& path : found.files) {
    if (choice.limit > 0 && static_cast<int64_t>(out.paths.size()) == choice.limit) break;
    if (choice.hold_out_every <= 1) {  // all of them: what is wrong with one shows when it is evaluated
      out.paths.push_back(path);
      continue;
    }
    try {
      usable_samples(path, recipe);
      if (usable++ % choice.hold_out_every == 0) out.paths.push_back(path);
    } catch (const Error& e) {
      out.refused.push_back({e.what(), e.code()});
    }
  }
  if (out.paths.empty()) {
    throw Error(Exit::no_input, folder.string() + ": holds no usable recording; the first that was refused: " +
                                    out.refused.front().message);
  }
  return out;
}

}  // namespace melflow::engine
