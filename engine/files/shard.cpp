#include "engine/files/shard.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/file_ending.h"
#include "engine/files/shown_name.h"
#include "engine/files/tar_reader.h"

namespace melflow::files {

bool has_audio_ending(std::string_view name) {
  static constexpr std::array<std::string_view, 10> kEndings{".wav",  ".flac", ".ogg", ".mp3", ".aif",
                                                             ".aiff", ".au",   ".caf", ".w64", ".opus"};
  return std::ranges::any_of(kEndings, [&](std::string_view ending) { return has_ending(name, ending); });
}

std::string_view sample_key(std::string_view name) {
  for (const std::string_view ending : {".mel.npy", ".npy"}) {
    if (has_ending(name, ending)) return name.substr(0, name.size() - ending.size());
  }
  const auto dot = name.rfind('.');
  const auto slash = name.rfind('/');
  const bool in_name = dot != std::string_view::npos && (slash == std::string_view::npos || dot > slash);
  return in_name ? name.substr(0, dot) : name;
}

ShardListing list_shard(std::span<const std::byte> bytes, const std::string& name,
                        const std::function<void(size_t)>& passed) {
  const auto members = parse_tar(bytes, name, passed);
  const auto part_of = [&](std::span<const std::byte> content) {
    return MemberPart{static_cast<uint64_t>(content.data() - bytes.data()), content.size()};
  };
  ShardListing listing;
  std::unordered_map<std::string_view, size_t> by_key;
  for (const auto& [member, content] : members) {
    if (!has_audio_ending(member)) continue;
    if (!by_key.emplace(sample_key(member), listing.samples.size()).second) {
      listing.refused.push_back(name + ": " + shown_name(member) + " is a second recording of its key");
      continue;
    }
    listing.samples.push_back({member, part_of(content), {}});
  }
  // A name sorts ".mel.npy" before ".npy": the first one found stays.
  for (const auto& [member, content] : members) {
    if (!has_ending(member, ".npy")) continue;
    const auto found = by_key.find(sample_key(member));
    if (found == by_key.end()) continue;
    auto& mel = listing.samples[found->second].mel;
    if (mel.size == 0) mel = part_of(content);
  }
  std::ranges::sort(listing.samples, {}, [](const ShardSample& sample) { return sample.sound.offset; });
  return listing;
}

}  // namespace melflow::files
