#include "engine/eval/recordings.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "audio/wav.h"
#include "engine/eval/score.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

/// The files that a training finds (train/dataset.cpp), in its order.
std::vector<fs::path> audio_files(const fs::path& folder) {
  static const std::set<std::string> kinds{".wav",  ".flac", ".ogg", ".mp3", ".aif",
                                           ".aiff", ".au",   ".caf", ".w64", ".opus"};
  std::error_code error;
  std::vector<fs::path> found;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    auto kind = it->path().extension().string();
    std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::tolower(c); });
    if (it->is_regular_file(error) && kinds.contains(kind)) found.push_back(it->path());
  }
  if (error) throw Error(Exit::no_input, folder.string() + ": cannot be read (" + error.message() + ")");
  if (found.empty())
    throw Error(Exit::no_input, folder.string() + ": holds no audio files; name a folder of recordings");
  std::sort(found.begin(), found.end());
  return found;
}

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
