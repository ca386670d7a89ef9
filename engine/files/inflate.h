#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace melflow::files {

// Compressed data, by zlib. Errors are Error{bad_data}, "`name`: …".

/// The most that compressed data may become, given the file that holds them: weights hardly compress, so what promises
/// far more is a bomb.
inline constexpr size_t inflated_limit(size_t file_bytes) { return (size_t{16} << 20) + 4 * file_bytes; }

/// Raw deflate data that must become exactly `size` bytes.
std::vector<std::byte> inflate_exactly(std::span<const std::byte> deflated, size_t size, const std::string& name);

/// What a gzip file holds; several members after one another are one text. Refuses more than `most` bytes: a few
/// kilobytes can claim to be terabytes.
std::vector<std::byte> gunzip(std::span<const std::byte> bytes, const std::string& name, size_t most = size_t{2} << 30);

}  // namespace melflow::files
