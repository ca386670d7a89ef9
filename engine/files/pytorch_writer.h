#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "base/atomic_file.h"
#include "engine/files/safetensors.h"

namespace melflow::files {

/// A state dictionary as torch.save writes it (zip container; an OrderedDict of tensors), which
/// torch.load(weights_only=True) opens. Storages begin at multiples of 64 bytes. Written atomically; Error{bad_data}
/// where it would pass the 4 GiB of a plain zip archive.
void write_state_dict(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                      AtomicFile::Existing existing);

}  // namespace melflow::files
