#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace melflow::files {

/// Whether a name ends as those of recordings do: .wav, .flac, .ogg, .mp3, .aif, .aiff, .au, .caf, .w64, .opus.
bool has_audio_ending(std::string_view name);

/// A name without its last ending, "a/b.c.wav" → "a/b.c", and, of a mel, without ".mel.npy" or ".npy".
std::string_view sample_key(std::string_view name);

/// Where the bytes of a member lie in its archive.
struct MemberPart {
  uint64_t offset = 0, size = 0;
};

/// A recording of a shard, and the mel of the same key where there is one (size 0: none).
struct ShardSample {
  std::string name;  ///< of the recording's member
  MemberPart sound, mel;
};

struct ShardListing {
  std::vector<ShardSample> samples;  ///< in the order in which they lie in the archive
  std::vector<std::string> refused;  ///< one line each: which member, what is wrong
};

/// What a tar archive in WebDataset's layout holds: members whose names agree up to the ending belong together; a
/// recording may have a mel (.mel.npy, else .npy); other members are passed over. A second recording of a key is
/// refused by name. `passed` and errors: as parse_tar's. A pure function of the bytes.
ShardListing list_shard(std::span<const std::byte> bytes, const std::string& name,
                        const std::function<void(size_t)>& passed = {});

}  // namespace melflow::files
