#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"

namespace melflow::files {

/// A NumPy array as float32, C order.
struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// Parses .npy versions 1 to 3: '<f2', '<f4', '<f8', '>f…', bool and integers, either order. `name` is for messages.
/// Nothing is evaluated; an object array is refused; nothing is allocated before the size in the header is
/// known to agree with the bytes that are there. Throws Error{bad_data}.
NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& name);
/// The same of a file. Throws Error{no_input, bad_data} as MappedFile does, too.
NpyArray read_npy(const std::filesystem::path& path);

/// An array as float32 where it lies, C order.
struct NpyView {
  std::vector<int64_t> shape;
  std::span<const std::byte> values;  ///< 4 bytes a number, at any address; into the bytes that were parsed
};
/// As parse_npy, without a copy, and throws what it throws; nothing where the numbers are not '<f4' in C order.
std::optional<NpyView> view_npy(std::span<const std::byte> bytes, const std::string& name);

/// '<f4', C order, version 1.0. The header of one axis has the same length, 128 bytes, for any extent.
std::vector<std::byte> npy_header(std::span<const int64_t> shape, const std::string& descr = "<f4");
/// The whole file. Throws Error{internal} where the shape's product is not the number of values.
std::vector<std::byte> npy_bytes(std::span<const int64_t> shape, std::span<const float> values);
/// The same as '<i8': labels are to be indices.
std::vector<std::byte> npy_bytes(std::span<const int64_t> shape, std::span<const int64_t> values);
/// Written atomically. Throws as npy_bytes and AtomicFile do.
void write_npy(const std::filesystem::path& path, std::span<const int64_t> shape, std::span<const float> values,
               AtomicFile::Existing existing);

}  // namespace melflow::files
