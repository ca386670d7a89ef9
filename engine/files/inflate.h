#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace melflow::files {

/// The most that compressed data may become, given the file that holds them: weights hardly compress, so what promises
/// far more is a bomb.
inline constexpr size_t inflated_limit(size_t file_bytes) { return (size_t{16} << 20) + 4 * file_bytes; }

/// Raw deflate data that must become exactly `size` bytes. Throws Error{bad_data} ("`name`: …").
std::vector<std::byte> inflate_exactly(std::span<const std::byte> deflated, size_t size, const std::string& name);

}  // namespace melflow::files
