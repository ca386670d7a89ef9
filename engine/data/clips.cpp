#include "engine/data/clips.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "audio/error.h"
#include "engine/data/parallel.h"
#include "engine/files/mapped_file.h"
#include "engine/files/shown_name.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

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

/// Reads the header of every place in `places`; what is wrong with one stands at its place in the answer.
std::vector<std::string> read_headers(const Clips& clips, std::vector<ClipPlace>& places,
                                      const std::vector<files::MappedFile>& shards, const audio::MelOptions& recipe,
                                      int workers) {
  std::vector<std::string> problems(places.size());
  parallel_for(places.size(), workers, [&](size_t i) {
    auto& place = places[i];
    try {
      if (place.shard < 0) {
        place.samples = usable_samples(place.path, recipe);
        return;
      }
      const auto bytes = shards[static_cast<size_t>(place.shard)].bytes().subspan(place.sound.offset, place.sound.size);
      const auto name = clips.name(place);
      place.samples = samples_of(audio::audio_info(bytes, name), bytes.size(), recipe, name,
                                 [&] { return audio::read_audio(bytes, name); });
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
};

Walk walk(const fs::path& folder, bool with_shards) {
  std::error_code error;
  Walk found;
  for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && it != end; it.increment(error)) {
    const auto& name = it->path().native();
    const bool wanted = files::has_audio_ending(name) || (with_shards && name.ends_with(".tar"));
    const bool mel = with_shards && name.ends_with(".npy");
    if ((!wanted && !mel) || !it->is_regular_file(error)) continue;
    if (mel) {
      found.mels.emplace(files::sample_key(name));
    } else {
      found.files.push_back(it->path());
    }
  }
  if (error) throw Error(Exit::no_input, folder.string() + ": cannot be read (" + error.message() + ")");
  if (found.files.empty()) {
    throw Error(Exit::no_input, folder.string() + ": holds no audio files" + (with_shards ? " and no .tar" : "") +
                                    "; name a folder of recordings");
  }
  std::sort(found.files.begin(), found.files.end());
  return found;
}

void add_shard(const fs::path& path, Clips& clips, std::vector<files::MappedFile>& mapped) {
  try {
    files::MappedFile file(path);
    const auto listing = files::list_shard(file.bytes(), path.string());
    const auto number = static_cast<int32_t>(clips.shards.size());
    for (const auto& sample : listing.samples) {
      clips.places.push_back({.path = sample.name, .shard = number, .sound = sample.sound, .mel = sample.mel});
    }
    clips.refused.insert(clips.refused.end(), listing.refused.begin(), listing.refused.end());
    clips.shards.push_back(path.string());
    mapped.push_back(std::move(file));
  } catch (const Error& e) {
    clips.refused.emplace_back(e.what());
  }
}

std::vector<std::byte> read_part(const std::string& path, const files::MemberPart& part) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Error(Exit::no_input, path + ": cannot be read: " + std::strerror(errno));
  std::vector<std::byte> bytes(part.size);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(part.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  ::close(descriptor);
  if (done < bytes.size())
    throw Error(Exit::bad_data, path + ": is shorter than it was; leave it alone while it is read");
  return bytes;
}

std::vector<std::byte> read_whole(const std::string& path) {
  const auto bytes = files::MappedFile(path);
  return {bytes.bytes().begin(), bytes.bytes().end()};
}

void require_some(const Clips& clips, const std::vector<fs::path>& paths) {
  if (!clips.places.empty()) return;
  throw Error(Exit::no_input, (paths.empty() ? std::string("--data") : paths[0].string()) +
                                  ": no usable recording is there" +
                                  (clips.refused.empty() ? "" : "; the first that was refused: " + clips.refused[0]));
}

/// `mapped` receives the archives, in the order of their numbers.
Clips list(const std::vector<fs::path>& paths, std::vector<files::MappedFile>& mapped) {
  Clips clips;
  const auto add = [&](const fs::path& path, bool mel_beside) {
    if (path.extension() == ".tar") {
      add_shard(path, clips, mapped);
    } else {
      clips.places.push_back({.path = path.string(), .mel_beside = mel_beside});
    }
  };
  for (const auto& path : paths) {
    if (!fs::exists(path)) throw Error(Exit::no_input, path.string() + ": is not there; name a folder of recordings");
    if (!fs::is_directory(path)) {
      add(path, false);
      continue;
    }
    const auto found = walk(path, true);
    for (const auto& file : found.files) {
      add(file, !found.mels.empty() && found.mels.contains(std::string(files::sample_key(file.native()))));
    }
  }
  require_some(clips, paths);
  return clips;
}

}  // namespace

std::string Clips::name(const ClipPlace& place) const {
  if (place.shard < 0) return place.path;
  return shards[static_cast<size_t>(place.shard)] + ": " + files::shown_name(place.path);
}

std::vector<fs::path> audio_files(const fs::path& folder) { return walk(folder, false).files; }

int64_t usable_samples(const fs::path& path, const audio::MelOptions& recipe) {
  const auto info = audio::audio_info(path);
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return samples_of(info, error ? 0 : bytes, recipe, path.string(), [&] { return audio::read_audio(path); });
}

Clips list_clips(const std::vector<fs::path>& paths) {
  std::vector<files::MappedFile> mapped;
  return list(paths, mapped);
}

Clips find_clips(const std::vector<fs::path>& paths, const audio::MelOptions& recipe, int workers) {
  std::vector<files::MappedFile> mapped;
  auto clips = list(paths, mapped);
  const auto problems = read_headers(clips, clips.places, mapped, recipe, workers);
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
  return audio::read_audio(read_sound_bytes(clips, place), clips.name(place), {.sample_rate = sample_rate});
}

std::vector<std::byte> read_sound_bytes(const Clips& clips, const ClipPlace& place) {
  if (place.shard < 0) return read_whole(place.path);
  return read_part(clips.shards[static_cast<size_t>(place.shard)], place.sound);
}

std::vector<std::byte> read_mel_bytes(const Clips& clips, const ClipPlace& place) {
  if (place.shard >= 0) return read_part(clips.shards[static_cast<size_t>(place.shard)], place.mel);
  const std::string key(files::sample_key(place.path));
  std::error_code error;
  return read_whole(fs::exists(key + ".mel.npy", error) ? key + ".mel.npy" : key + ".npy");
}

}  // namespace melflow::engine
