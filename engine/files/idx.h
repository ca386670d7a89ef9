#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/files/npy.h"

namespace melflow::files {

/// The format of MNIST (LeCun): two zero bytes, a type, the number of dimensions, each as a big-endian 32-bit number,
/// then the numbers. Unsigned bytes only, which is what exists. Throws Error{bad_data}; takes no memory before the
/// sizes agree with the bytes that are there.
NpyArray parse_idx(std::span<const std::byte> bytes, const std::string& name);
/// Whether the bytes begin as an idx file, of whatever type; more of them are not looked at. Throws nothing.
bool is_idx(std::span<const std::byte> bytes) noexcept;

}  // namespace melflow::files
