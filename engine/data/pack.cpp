#include "engine/data/pack.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_set>

#include "audio/sound_file.h"
#include "base/error.h"
#include "base/folder_of.h"
#include "engine/data/clips.h"
#include "engine/files/npy.h"
#include "engine/files/tar_writer.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;

/// Members of a shard at most; parse_tar takes 65,536.
constexpr size_t kMostMembers = 60'000;

fs::path shard_path(const fs::path& prefix, size_t number) {
  char ending[32];
  std::snprintf(ending, sizeof ending, "-%06zu.tar", number);
  return prefix.string() + ending;
}

/// The path below the folder that it was found in, or the file's own name; a member's name as it is.
std::string relative_name(const ClipPlace& place, const std::vector<fs::path>& paths) {
  if (place.shard >= 0) return fs::path(place.path).relative_path().string();
  for (const auto& folder : paths) {
    const auto relative = fs::path(place.path).lexically_relative(folder);
    if (!relative.empty() && *relative.begin() != ".." && *relative.begin() != ".") return relative.string();
  }
  return fs::path(place.path).filename().string();
}

/// WebDataset's key ends at the first dot; no two are the same.
std::string unique_key(std::string key, std::unordered_set<std::string>& taken) {
  std::ranges::replace(key, '.', '_');
  auto unique = key;
  for (int n = 2; !taken.insert(unique).second; ++n) unique = key + "-" + std::to_string(n);
  return unique;
}

/// Whether a file is, by its name, a shard of this prefix, of whatever number.
bool is_shard_of(const fs::path& file, const fs::path& prefix) {
  const auto name = file.filename().string(), start = prefix.filename().string() + "-";
  constexpr std::string_view kEnding = ".tar";
  constexpr size_t kDigits = 6;  // or more
  if (name.size() < start.size() + kDigits + kEnding.size() || !name.starts_with(start) || !name.ends_with(kEnding))
    return false;
  const auto number = std::string_view(name).substr(start.size(), name.size() - start.size() - kEnding.size());
  std::error_code error;
  return number.find_first_not_of("0123456789") == std::string_view::npos &&
         fs::equivalent(folder_of(file), folder_of(prefix), error);
}

/// The shards that lie there under this prefix, of whatever numbers.
std::vector<fs::path> shards_of(const fs::path& prefix) {
  std::vector<fs::path> shards;
  std::error_code error;
  for (fs::directory_iterator entry(folder_of(prefix), error), end; !error && entry != end; entry.increment(error)) {
    if (is_shard_of(entry->path(), prefix)) shards.push_back(entry->path());
  }
  return shards;
}

/// They belong to an earlier run, whose shards would mix with ours.
void require_unused(const fs::path& prefix) {
  const auto earlier = shards_of(prefix);
  if (earlier.empty()) return;
  throw Error(Exit::cannot_create, earlier.front().string() + ": exists; name another prefix, or say --force");
}

/// An earlier run's shards, which may have been more, or of other numbers.
void remove_others(const fs::path& prefix, const std::vector<std::string>& ours) {
  std::set<fs::path> kept;
  for (const auto& shard : ours) kept.insert(fs::path(shard).filename());
  std::error_code error;
  for (const auto& shard : shards_of(prefix)) {
    if (!kept.contains(shard.filename())) fs::remove(shard, error);
  }
}

/// The shard that is being written, and those before it: all of them appear under their names when publish() is called,
/// and none of them without.
class ShardWriter {
 public:
  ShardWriter(fs::path prefix, const ShardOptions& options, Packed& packed)
      : prefix_(std::move(prefix)), options_(options), packed_(packed) {}

  /// Members that belong together, into the same shard.
  void add(const std::vector<std::pair<std::string, std::vector<std::byte>>>& members) {
    uint64_t size = 0;
    for (const auto& [name, content] : members) size += 512 + content.size() + files::tar_padding(content.size());
    if (file_ && (bytes_ + size + files::kTarEnd > options_.shard_bytes || members_ + members.size() > kMostMembers))
      finish();
    if (!file_) {
      file_ = std::make_unique<AtomicFile>(shard_path(prefix_, whole_.size()), options_.existing);
      bytes_ = members_ = 0;
    }
    for (const auto& [name, content] : members) {
      put(files::tar_header(name, content.size()));
      put(content);
      put(std::vector<std::byte>(files::tar_padding(content.size())));
    }
    members_ += members.size();
  }

  void finish() {
    if (!file_) return;
    put(std::vector<std::byte>(files::kTarEnd));
    file_->close();
    packed_.bytes += bytes_;
    whole_.push_back(std::move(file_));
  }

  void publish() {
    finish();
    if (options_.existing == AtomicFile::Existing::refuse) require_unused(prefix_);  // also meanwhile
    for (const auto& shard : whole_) {
      shard->commit();
      packed_.shards.push_back(shard->target().string());
    }
  }

 private:
  void put(const std::vector<std::byte>& bytes) {
    file_->write(bytes);
    bytes_ += bytes.size();
  }

  fs::path prefix_;
  const ShardOptions& options_;
  Packed& packed_;
  std::unique_ptr<AtomicFile> file_;
  std::vector<std::unique_ptr<AtomicFile>> whole_;
  uint64_t bytes_ = 0;
  size_t members_ = 0;
};

/// Shards that would be replaced, or removed as an earlier run's, while they are read.
void require_other_shards(const Clips& clips, const fs::path& prefix) {
  std::error_code error;
  const auto there = shards_of(prefix);
  for (const auto& shard : clips.shards) {
    const auto is_it = [&](const fs::path& other) { return fs::equivalent(shard, other, error); };  // by a link, too
    const bool ours = is_shard_of(shard, prefix) || std::ranges::any_of(there, is_it);
    if (ours) throw Error(Exit::usage, shard + ": is the input too, which would be lost; name another prefix");
  }
}

/// What belongs to a recording, under `key`.
using Members = std::vector<std::pair<std::string, std::vector<std::byte>>>;

/// A recording that can be read to its end, and its mel; nothing and a line about it where either cannot be read.
Members read_members(const Clips& clips, const ClipPlace& place, std::vector<std::string>& refused) {
  const auto ending = fs::path(place.path).extension().string();
  try {
    Members members{{ending, read_sound_bytes(clips, place)}};
    audio::read_audio(members[0].second, clips.name(place));
    if (place.has_mel()) {
      members.emplace_back(".mel.npy", read_mel_bytes(clips, place));
      files::parse_npy(members[1].second, clips.name(place) + ", its mel");
    }
    return members;
  } catch (const Error& e) {
    refused.push_back(e.what());
    return {};
  }
}

}  // namespace

Packed pack(const std::vector<fs::path>& paths, const fs::path& prefix, const ShardOptions& options,
            const std::function<bool()>& stop, const std::function<void(size_t, size_t)>& report) {
  Packed packed;
  std::error_code error;
  if (options.existing == AtomicFile::Existing::refuse) require_unused(prefix);
  const auto clips = find_clips(paths, {}, 1);
  require_other_shards(clips, prefix);
  packed.refused = clips.refused;
  if (prefix.has_parent_path()) {
    fs::create_directories(prefix.parent_path(), error);
    if (error)
      throw Error(Exit::cannot_create, prefix.parent_path().string() + ": cannot be made (" + error.message() + ")");
  }
  ShardWriter writer(prefix, options, packed);
  std::unordered_set<std::string> taken;
  for (size_t i = 0; i < clips.places.size() && !stop(); ++i) {
    const auto& place = clips.places[i];
    const auto name = relative_name(place, paths);
    report(i + 1, clips.places.size());
    auto members = read_members(clips, place, packed.refused);
    if (members.empty()) continue;
    const auto key = unique_key(std::string(files::sample_key(name)), taken);
    for (auto& [ending, content] : members) ending.insert(0, key);
    packed.mels += place.has_mel();
    writer.add(members);
    ++packed.recordings;
  }
  if (stop()) return packed;
  if (packed.recordings == 0) {
    throw Error(Exit::no_input, prefix.string() + ": not written, since no recording can be packed" +
                                    (packed.refused.empty() ? "" : "; the first: " + packed.refused[0]));
  }
  writer.publish();
  if (options.existing == AtomicFile::Existing::replace) remove_others(prefix, packed.shards);
  return packed;
}

}  // namespace melflow::engine
