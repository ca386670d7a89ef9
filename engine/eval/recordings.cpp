#include "engine/eval/recordings.h"

#include <cmath>

#include "audio/wav.h"
#include "engine/eval/score.h"
#include "engine/train/dataset.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

/// Throws what a training refuses a file for. At the file's own rate: resampling thousands of files only to count
/// them would take longer than the evaluation.
void require_usable(const fs::path& path, const audio::MelOptions& recipe) {
  const auto sound = audio::read_audio(path);
  const auto samples = std::llround(sound.seconds() * recipe.sample_rate);
  if (samples < recipe.n_fft) {
    throw Error(Exit::bad_data,
                path.string() + ": only " + std::to_string(samples) + " samples, less than one STFT window");
  }
  if (is_silent(sound.samples)) throw Error(Exit::bad_data, path.string() + ": is silent");
}

}  // namespace

ChosenRecordings choose_recordings(const fs::path& folder, const audio::MelOptions& recipe,
                                   const RecordingChoice& choice) {
  ChosenRecordings out;
  int64_t usable = 0;
  for (const auto& path : audio_files(folder)) {
    if (choice.limit > 0 && static_cast<int64_t>(out.paths.size()) == choice.limit) break;
    if (choice.hold_out_every <= 1) {  // all of them: what is wrong with one shows when it is evaluated
      out.paths.push_back(path);
      continue;
    }
    try {
      require_usable(path, recipe);
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
