#pragma once

#include <map>
#include <string>

#include "engine/files/pytorch_file.h"

namespace melflow::files {

/// The element type of torch.FloatStorage and its like; nothing for other globals.
std::optional<Dtype> storage_dtype(std::string_view global);

/// A storage that a pickle speaks of by persistent id ('storage', torch.FloatStorage, key, device, count, view).
struct StorageReference {
  Dtype dtype = Dtype::f32;
  std::string key;
  uint64_t count = 0;              ///< of elements
  uint64_t begin = 0, viewed = 0;  ///< the part of it that is meant, for old views
};
/// Nothing where the node is no storage; throws Error{bad_data} where it is a malformed one.
std::optional<StorageReference> storage_reference(const Pickle& pickle, PickleId id, const std::string& name);

/// The bytes of each storage by its key.
struct Storages {
  std::map<std::string, std::span<const std::byte>, std::less<>> bytes;
  bool swapped = false;  ///< big-endian
};

/// Walks the tree and puts its tensors and facts into `out`. Bounded: depth 64, 2^20 steps, 65,536 tensors.
void collect(const Pickle& pickle, const Storages& storages, const std::string& name, PytorchContent& out);

}  // namespace melflow::files
