#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace melflow::files {

/// A file without a name in the folder for temporary ones (TMPDIR): gone with this, or with the process.
class TemporaryFile {
 public:
  TemporaryFile();  ///< throws Error{cannot_create}
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  uint64_t size() const { return size_; }
  /// All of the bytes, or none: throws Error{io_error} (a full disk, a quota).
  void append(std::span<const std::byte> bytes);
  /// Throws Error{io_error}, too, where so many bytes are not there. May be called by several threads at once.
  void read(uint64_t at, std::span<std::byte> bytes) const;

 private:
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace melflow::files
