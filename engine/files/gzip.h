#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace melflow::files {

/// What a gzip file holds, by zlib; several members after one another are one text. Throws Error{bad_data} for a
/// damaged or cut file, and for more than `most` bytes: a few kilobytes can claim to be terabytes.
std::vector<std::byte> gunzip(std::span<const std::byte> bytes, const std::string& name, size_t most = size_t{2} << 30);

}  // namespace melflow::files
