#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>

namespace melflow::files {

/// The regular files of a tar archive (ustar, with GNU and pax long names), by name without a leading "./". Links,
/// devices and folders are left out; nothing is written anywhere. Checksums are tested; sizes must fit; no name twice.
/// `passed` is told how far the reading has come. Throws Error{bad_data}. A pure function of the bytes, which must
/// outlive the result.
std::map<std::string, std::span<const std::byte>> parse_tar(std::span<const std::byte> bytes, const std::string& name,
                                                            const std::function<void(size_t)>& passed = {});

/// Whether the bytes begin like a tar archive.
bool looks_like_tar(std::span<const std::byte> bytes);

}  // namespace melflow::files
