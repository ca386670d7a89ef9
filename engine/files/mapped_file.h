#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace melflow::files {

/// A regular file mapped read-only for as long as this lives. Folders, pipes and devices are refused without waiting
/// for them; so are empty files, and files above 8 GiB. Our own writers rename and never truncate in place, so
/// replacing a mapped file with them is safe.
class MappedFile {
 public:
  /// Throws Error{no_input} for a missing, unreadable or special file, Error{bad_data} for an empty or enormous one.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// A part of a file of any size, mapped read-only for as long as this lives: memory stays small however large the
/// file.
class MappedPart {
 public:
  /// Throws Error{no_input} for a file that cannot be read, Error{bad_data} where the part does not lie in it (any
  /// more).
  MappedPart(const std::filesystem::path& path, uint64_t offset, uint64_t size);
  ~MappedPart();
  MappedPart(const MappedPart&) = delete;
  MappedPart& operator=(const MappedPart&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  void* base_ = nullptr;  // the page in which the part begins
  size_t length_ = 0;
  std::span<const std::byte> bytes_;
};

/// These bytes will not be read again soon: what of them lies in a MappedFile leaves memory, and comes again from the
/// file if it is read after all. Other bytes stay as they are.
void let_go(std::span<const std::byte> bytes);

}  // namespace melflow::files
