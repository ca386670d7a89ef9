#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace melflow::files {

/// CRC-32C (Castagnoli, reflected; RFC 3720): the checksum of TensorBoard's records, and of our checkpoints.
uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace melflow::files
