#include "engine/data/clips.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <unordered_set>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/mapped_file.h"
#include "engine/files/shown_name.h"
#include "engine/parallel.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

files::MappedPart member(const Clips& clips, const ClipPlace& place, const files::MemberPart& part) {
  return {clips.shards[static_cast<size_t>(place.shard)], part.offset, part.size};
}

/// Samples at the recipe's rate. `decode` counts them where the header does not say, or says what so few bytes hardly
/// hold.
template <typename Decode>
int64_t samples_of(const audio::AudioInfo& info, uint64_t bytes, const audio::MelOptions& recipe,
                   const std::string& name, Decode&& decode) {
  constexpr int64_t kMostFramesAByte = 64, kLongest = audio::ReadOptions{}.max_frames;
  int64_t frames = info.frames;
  const bool credible = frames > 0 && frames <= kLongest && frames / kMostFramesAByte <= static_cast<int64_t>(bytes);
  if (!credible) frames = static_cast<int64_t>(decode().samples.size());
  const auto samples = std::llround(static_cast<double>(frames) * recipe.sample_rate / info.sample_rate);
  if (samples < recipe.n_fft) {
    throw Error(Exit::bad_data, name + ": only " + std::to_string(samples) + " samples, less than one STFT window");
  }
  return samples;
}

/// Reads the header of every place; what is wrong with one stands at its place in the answer.
std::vector<std::string> read_headers(Clips& clips, const audio::MelOptions& recipe, int workers) {
  std::vector<std::string> problems(clips.places.size());
  parallel_for(clips.places.size(), workers, [&](size_t i) {
    auto& place = clips.places[i];
    try {
      if (place.shard < 0) {
        place.samples = usable_samples(place.path, recipe);
        return;
      }
      const auto part = member(clips, place, place.sound);
      const auto name = clips.name(place);
      place.samples = samples_of(audio::audio_info(part.bytes(), name), part.bytes().size(), recipe, name,
                                 [&] { return audio::read_audio(part.bytes(), name); });
    } catch (const Error& e) {
      problems[i] = e.what();
    }
  });
  return problems;
}

/// What lies under a folder: recordings, archives, and the keys for which there is a mel.
struct Walk {
  std::vector<fs::path> files;  ///< sorted
  std::unordered_set<std::string> mels;
  std::vector<std::string> refused;  ///< folders that cannot be read and links to nothing, one line each
};

/// The folder in which a training lays what its voice says: no recordings, and more with each time it goes on.
bool is_of_a_training(const fs::path& folder) {
  std::error_code error;
  const auto run = folder.parent_path();
  return folder.filename() == "samples" && fs::exists(run / "metrics.jsonl", error) &&
         fs::exists(run / "config.json", error) && fs::is_directory(run / "checkpoints", error);
}

Walk walk(const fs::path& folder) {
  std::error_code error;
  Walk found;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (std::error_code unknown; it->is_directory(unknown) && ::access(it->path().c_str(), R_OK | X_OK) != 0) {
      found.refused.push_back(one_line(it->path().string() + ": cannot be read (" + std::strerror(errno) + ")"));
      it.disable_recursion_pending();
    } else if (is_of_a_training(it->path())) {
      it.disable_recursion_pending();
    } else if (it->is_symlink(unknown) && it->is_directory(unknown)) {  // they may lead in circles
      found.refused.push_back(
          one_line(it->path().string() + ": is a link to a folder, which is not followed; name it, too"));
    }
    const auto& name = it->path().native();
    const bool wanted = files::has_audio_ending(name) || has_ending(name, ".tar"), mel = has_ending(name, ".npy");
    if (!wanted && !mel) continue;
    std::error_code gone;
    if (wanted && it->is_symlink(gone) && !it->exists(gone)) {
      found.refused.push_back(one_line(it->path().string() + ": is a link to nothing that can be read" +
                                       (gone ? " (" + gone.message() + ")" : "")));
    }
    if (!it->is_regular_file(gone)) continue;
    if (mel) {
      found.mels.emplace(files::sample_key(name));
    } else {
      found.files.push_back(it->path());
    }
  }
  if (error) throw Error(Exit::no_input, folder.string() + ": cannot be read (" + error.message() + ")");
  if (found.files.empty()) {
    throw Error(Exit::no_input, folder.string() + ": holds no audio files and no .tar; name a folder of recordings" +
                                    (found.refused.empty() ? "" : "; " + found.refused.front()));
  }
  std::sort(found.files.begin(), found.files.end());
  return found;
}

/// What an archive holds. What has been read of it is not kept in memory: all archives together may be larger.
files::ShardListing listing_of(const std::string& path) {
  constexpr size_t kKept = size_t{16} << 20;
  const files::MappedFile file(path);
  size_t forgotten = 0;
  return files::list_shard(file.bytes(), path, [&](size_t at) {
    if (at < forgotten + kKept) return;
    files::let_go(file.bytes().subspan(forgotten, kKept));
    forgotten += kKept;
  });
}

/// Puts the members of the archives in place of their names.
void open_shards(Clips& clips, int workers) {
  std::vector<size_t> shards;
  for (size_t i = 0; i < clips.places.size(); ++i) {
    if (has_ending(clips.places[i].path, ".tar")) shards.push_back(i);
  }
  std::vector<files::ShardListing> listings(shards.size());
  parallel_for(shards.size(), workers, [&](size_t i) {
    try {
      listings[i] = listing_of(clips.places[shards[i]].path);
    } catch (const Error& e) {
      listings[i].refused.emplace_back(e.what());
    }
  });
  std::vector<ClipPlace> places;
  for (size_t i = 0, shard = 0; i < clips.places.size(); ++i) {
    if (shard == shards.size() || shards[shard] != i) {
      places.push_back(std::move(clips.places[i]));
      continue;
    }
    const auto& listing = listings[shard++];
    for (const auto& sample : listing.samples) {
      places.push_back({.path = sample.name,
                        .shard = static_cast<int32_t>(clips.shards.size()),
                        .sound = sample.sound,
                        .mel = sample.mel});
    }
    clips.refused.insert(clips.refused.end(), listing.refused.begin(), listing.refused.end());
    clips.shards.push_back(clips.places[i].path);
  }
  clips.places = std::move(places);
}

/// A file that lies in two of the folders named counts once: else what is kept out would be trained on.
void leave_once(std::vector<ClipPlace>& places) {
  std::set<fs::path> seen;
  std::erase_if(places, [&](const ClipPlace& place) {
    std::error_code error;
    const auto file = fs::canonical(place.path, error);
    return !error && !seen.insert(file).second;
  });
}

/// The mel of a recording, beside it.
std::optional<std::string> mel_beside(const std::string& recording) {
  const std::string key(files::sample_key(recording));
  std::error_code error;
  for (const char* ending : {".mel.npy", ".npy"}) {
    if (fs::is_regular_file(key + ending, error)) return key + ending;
  }
  return std::nullopt;
}

std::vector<std::byte> copied(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<std::byte> read_whole(const std::string& path) { return copied(files::MappedFile(path).bytes()); }

void require_some(const Clips& clips, const std::vector<fs::path>& paths) {
  if (!clips.places.empty()) return;
  throw Error(Exit::no_input, (paths.empty() ? std::string("--data") : paths[0].string()) +
                                  ": no usable recording is there" +
                                  (clips.refused.empty() ? "" : "; the first that was refused: " + clips.refused[0]));
}

}  // namespace

std::string Clips::name(const ClipPlace& place) const {
  if (place.shard < 0) return place.path;
  return shards[static_cast<size_t>(place.shard)] + ": " + files::shown_name(place.path);
}

int64_t usable_samples(const fs::path& path, const audio::MelOptions& recipe) {
  const auto info = audio::audio_info(path);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return samples_of(info, error ? 0 : bytes, recipe, path.string(), [&] { return audio::read_audio(path); });
}

Clips list_clips(const std::vector<fs::path>& paths, int workers) {
  Clips clips;
  for (const auto& path : paths) {
    std::error_code error;
    const auto status = fs::status(path, error);
    if (status.type() == fs::file_type::not_found) {
      throw Error(Exit::no_input, path.string() + ": is not there; name a folder of recordings");
    }
    if (!fs::status_known(status)) {
      throw Error(Exit::no_input, path.string() + ": cannot be read (" + error.message() + ")");
    }
    if (!fs::is_directory(status)) {
      clips.places.push_back({.path = path.string(), .mel_beside = mel_beside(path.string()).has_value()});
      continue;
    }
    const auto found = walk(path);
    clips.refused.insert(clips.refused.end(), found.refused.begin(), found.refused.end());
    for (const auto& file : found.files) {
      const bool mel = !found.mels.empty() && found.mels.contains(std::string(files::sample_key(file.native())));
      clips.places.push_back({.path = file.string(), .mel_beside = mel});
    }
  }
  if (paths.size() > 1) leave_once(clips.places);
  open_shards(clips, workers);
  require_some(clips, paths);
  return clips;
}

Clips find_clips(const std::vector<fs::path>& paths, const audio::MelOptions& recipe, int workers) {
  auto clips = list_clips(paths, workers);
  const auto problems = read_headers(clips, recipe, workers);
  std::vector<ClipPlace> good;
  good.reserve(clips.places.size());
  for (size_t i = 0; i < problems.size(); ++i) {
    if (problems[i].empty()) {
      good.push_back(std::move(clips.places[i]));
    } else {
      clips.refused.push_back(problems[i]);
    }
  }
  clips.places = std::move(good);
  require_some(clips, paths);
  return clips;
}

audio::Waveform read_clip(const Clips& clips, const ClipPlace& place, int sample_rate) {
  if (place.shard < 0) return audio::read_audio(place.path, {.sample_rate = sample_rate});
  const auto part = member(clips, place, place.sound);
  return audio::read_audio(part.bytes(), clips.name(place), {.sample_rate = sample_rate});
}

std::vector<std::byte> read_sound_bytes(const Clips& clips, const ClipPlace& place) {
  if (place.shard < 0) return read_whole(place.path);
  return copied(member(clips, place, place.sound).bytes());
}

std::vector<std::byte> read_mel_bytes(const Clips& clips, const ClipPlace& place) {
  if (place.shard >= 0) return copied(member(clips, place, place.mel).bytes());
  return read_whole(mel_beside(place.path).value_or(place.path));
}

}  // namespace melflow::engine
