#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/atomic_file.h"

namespace melflow::engine {

struct ShardOptions {
  uint64_t shard_bytes = uint64_t{1} << 30;  ///< a shard ends before it would grow beyond; a recording stays whole
  AtomicFile::Existing existing = AtomicFile::Existing::refuse;
};

struct Packed {
  std::vector<std::string> shards;   ///< paths
  std::vector<std::string> refused;  ///< one line each
  int64_t recordings = 0, mels = 0;
  uint64_t bytes = 0;
};

/// Writes PREFIX-000000.tar, PREFIX-000001.tar, … in WebDataset's layout: every recording that find_clips finds and
/// that can be decoded to its end, byte for byte, under its path relative to its folder, dots in it made "_", with its
/// mel (.mel.npy) where it has one. Equal contents give equal shards; they appear when all are whole, none where it is
/// stopped; older ones of the prefix with higher numbers go. Makes the prefix's folder. Throws Error{cannot_create}
/// where it cannot, or the first shard exists and may not be replaced, Error{usage} where one that is read would be;
/// Error{no_input}.
Packed pack(const std::vector<std::filesystem::path>& paths, const std::filesystem::path& prefix,
            const ShardOptions& options, const std::function<bool()>& stop,
            const std::function<void(size_t, size_t)>& report);

}  // namespace melflow::engine
