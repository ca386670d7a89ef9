#pragma once

#include <filesystem>

namespace melflow {

/// The folder in which a path's last part lies; "." where the path does not say.
inline std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace melflow
