#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace melflow::files {

/// One member of a zip archive, as its central directory has it.
struct ZipMember {
  std::span<const std::byte> stored;  ///< the bytes in the archive
  bool deflated = false;              ///< `stored` is deflate data; otherwise it is the content itself, without a copy
  size_t size = 0;                    ///< of the content
  uint32_t crc = 0;
};

/// The members of a zip archive (PyTorch's, NumPy's .npz). Strict: one disk, no encryption, stored or deflated, ranges
/// inside the file and without overlap, local headers that agree, no name twice or that leaves its folder; deflated
/// members together stay under inflated_limit(). Nothing is inflated or copied here.
/// Throws Error{bad_data}. A pure function of the bytes, which must outlive the result.
std::map<std::string, ZipMember> parse_zip(std::span<const std::byte> bytes, const std::string& name);

/// A deflated member's content, its checksum tested. Stored members need no call: they are their `stored` bytes.
std::vector<std::byte> inflate_member(const ZipMember& member, const std::string& name);

/// Of a stored member too: throws where its checksum is not its content's.
void check_crc(const ZipMember& member, std::span<const std::byte> content, const std::string& name);

}  // namespace melflow::files
