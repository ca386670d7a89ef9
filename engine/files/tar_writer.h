#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace melflow::files {

/// The header of a regular file of that many bytes in a tar archive (ustar; a pax record before it for names beyond
/// 100 bytes): mode 0644, no owner, time 0, so that equal contents give equal archives. The content follows it, and
/// then tar_padding(size) zeros. Throws Error{bad_data} for a name over 4,000 bytes or a file of 8 GiB and more.
std::vector<std::byte> tar_header(const std::string& name, uint64_t size);

/// What fills a member of that many bytes to whole blocks of 512.
size_t tar_padding(uint64_t size);

/// Zeros that end an archive.
inline constexpr size_t kTarEnd = 1024;

}  // namespace melflow::files
