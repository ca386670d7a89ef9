#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace melflow {

/// A file that appears under its name only when it is whole: written beside the target, flushed to the disk and
/// renamed by commit(). Destroyed before commit() it leaves nothing behind. Never overwrites unless told to; of a link
/// it replaces what the link leads to.
class AtomicFile {
 public:
  enum class Existing { refuse, replace };

  /// Throws Error{cannot_create} where the target exists (and may not be replaced) or its folder cannot be written.
  AtomicFile(std::filesystem::path target, Existing existing);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends all bytes; throws Error{io_error} (a full disk, a quota) that names the target.
  void write(std::span<const std::byte> bytes);
  /// The descriptor behind it, for libraries that write by themselves (libsndfile).
  int descriptor() const { return descriptor_; }
  const std::filesystem::path& target() const { return target_; }

  /// Nothing follows: fsync, and the descriptor is given back; many files may wait so for their commit(). Throws
  /// Error{io_error}.
  void close();
  /// close(), rename, fsync of the folder. Throws Error{io_error, cannot_create}.
  void commit();

  /// For whoever takes a signal by which the process ends, where no destructor runs: removes what is not committed, and
  /// lets no other AtomicFile begin or end. The process must end now.
  static void abandon_all() noexcept;

 private:
  std::filesystem::path target_, temporary_;
  Existing existing_;
  int descriptor_ = -1;
  bool waits_ = true;  // the temporary file is there
};

/// The whole file at once: an AtomicFile, its bytes, commit(). Throws as those do.
void write_file(const std::filesystem::path& target, std::span<const std::byte> bytes, AtomicFile::Existing existing);

}  // namespace melflow
