#pragma once

#include <cstddef>
#include <span>

namespace melflow::files {

/// What a file may be of what is read here.
enum class FileKind { npy, safetensors, zip, pickle, gzip, tar, unknown };

/// Told by the first bytes, whatever the file's name says: 512 of them tell every kind.
FileKind kind_of(std::span<const std::byte> beginning);

/// Whether the bytes, nine at least, begin a safetensors file with a header shorter than 4 GiB: zeros, and then a brace
/// (docs/FORMATS.md). Nothing else that is read here begins so, streams of numbers included.
bool begins_safetensors(std::span<const std::byte> beginning);

/// Whether the bytes, four at least, begin what torch.save or NumPy's savez writes, and no stream of float32 numbers
/// that a mel could hold.
bool begins_archive(std::span<const std::byte> beginning);

/// The containers of torch.save: pickles one after the other before 1.6, zip since.
inline bool may_be_pytorch(FileKind kind) { return kind == FileKind::zip || kind == FileKind::pickle; }

}  // namespace melflow::files
