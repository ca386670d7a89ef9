#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/folder_of.h"

namespace melflow {
namespace {

[[noreturn]] void fail_exists(const std::filesystem::path& target) {
  throw Error(Exit::cannot_create, target.string() + ": exists already; give --force to replace it");
}

[[noreturn]] void fail_io(const std::filesystem::path& target, int code) {
  std::string message = target.string() + ": cannot be written: " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) message += "; make room or write elsewhere";
  throw Error(Exit::io_error, message);
}

/// A rename would put an ordinary file in the place of a device or a folder (think of /dev/null), so neither is a
/// target. Answers what is to be replaced, where there is something.
std::optional<struct stat> check_target(const std::filesystem::path& target, AtomicFile::Existing existing) {
  if (target == "-") {
    throw Error(Exit::usage, "-: this output does not go to stdout; name a file (./- where it is to be called that)");
  }
  if (!target.has_filename()) {
    throw Error(Exit::cannot_create, target.string() + ": names no file; give a path that ends in a file name");
  }
  struct stat status {};
  if (::stat(target.c_str(), &status) != 0) {
    if (errno == ENAMETOOLONG) {  // the rename would find out, after the work
      throw Error(Exit::cannot_create, target.string() + ": cannot be created: " + std::strerror(errno));
    }
    // A link that points nowhere is a name in use, too.
    if (existing == AtomicFile::Existing::refuse && ::lstat(target.c_str(), &status) == 0) fail_exists(target);
    return std::nullopt;
  }
  if (S_ISDIR(status.st_mode)) {
    throw Error(Exit::cannot_create, target.string() + ": is a folder; name a file in it");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(Exit::cannot_create, target.string() + ": is not an ordinary file; use - to write to standard output");
  }
  if (existing == AtomicFile::Existing::refuse) fail_exists(target);
  return status;
}

/// Renames so that a file that appeared under the name meanwhile is kept. 0 or errno.
int rename_without_replacing(const char* from, const char* to) {
  if (::renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // The file system does not know the flag: a hard link refuses an existing name just as well.
  if (::link(from, to) != 0) return errno;
  ::unlink(from);
  return 0;
}

/// Who could read and write a file can when it is replaced, and nobody else: its group's rights go where the group
/// does.
void keep_permissions(int descriptor, const struct stat& replaced) {
  mode_t mode = replaced.st_mode & 0777;
  if (::fchown(descriptor, static_cast<uid_t>(-1), replaced.st_gid) != 0) mode &= ~static_cast<mode_t>(070);
  ::fchmod(descriptor, mode);
}

/// Makes the rename itself last. Some file systems cannot sync a folder; that is no reason to fail.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

/// The temporary files that are there now.
struct Temporaries {
  std::mutex mutex;
  std::set<std::filesystem::path> paths;
};
Temporaries& temporaries() {
  static auto* const all = new Temporaries;  // a thread may still want it while the process ends
  return *all;
}
void forget(const std::filesystem::path& temporary) {
  const std::lock_guard lock(temporaries().mutex);
  temporaries().paths.erase(temporary);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path target, Existing existing)
    : target_(std::move(target)), existing_(existing) {
  const auto replaced = check_target(target_, existing_);
  // A rename onto a link would replace the link: what it leads to is what was to be replaced.
  std::error_code error;
  if (replaced && std::filesystem::is_symlink(target_, error)) {
    if (auto real = std::filesystem::canonical(target_, error); !error) target_ = std::move(real);
  }
  static std::atomic<unsigned> count{0};
  const std::lock_guard lock(temporaries().mutex);
  do {
    // A short name of its own, because target's name plus a suffix may be too long for the file system.
    temporary_ =
        folder_of(target_) / (".melflow-" + std::to_string(::getpid()) + "-" + std::to_string(count++) + ".tmp");
    descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, replaced ? 0600 : 0666);
  } while (descriptor_ < 0 && (errno == EEXIST || errno == EINTR));
  if (descriptor_ >= 0 && replaced) keep_permissions(descriptor_, *replaced);
  if (descriptor_ < 0) {
    const int code = errno;
    throw Error(Exit::cannot_create, target_.string() + ": cannot be created: " + std::strerror(code) +
                                         "; the folder must exist and be writable");
  }
  temporaries().paths.insert(temporary_);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!waits_) return;
  ::unlink(temporary_.c_str());
  forget(temporary_);
}

void AtomicFile::abandon_all() noexcept {
  temporaries().mutex.lock();  // for good
  for (const auto& path : temporaries().paths) ::unlink(path.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  assert(descriptor_ >= 0 && "write after close");
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_io(target_, errno);
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::close() {
  if (descriptor_ < 0) return;
  while (::fsync(descriptor_) != 0) {
    if (errno == EINTR) continue;
    fail_io(target_, errno);
  }
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 && errno != EINTR) fail_io(target_, errno);
}

void AtomicFile::commit() {
  assert(waits_ && "commit twice");
  close();
  int code = 0;
  if (existing_ == Existing::refuse) {
    code = rename_without_replacing(temporary_.c_str(), target_.c_str());
  } else {
    code = ::rename(temporary_.c_str(), target_.c_str()) == 0 ? 0 : errno;
  }
  if (code == EEXIST) fail_exists(target_);
  if (code != 0) fail_io(target_, code);
  // From here on the file is in place under its name, and there is nothing left to clean up.
  waits_ = false;
  forget(temporary_);
  sync_folder(folder_of(target_));
}

void write_file(const std::filesystem::path& target, std::span<const std::byte> bytes, AtomicFile::Existing existing) {
  AtomicFile file(target, existing);
  file.write(bytes);
  file.commit();
}

}  // namespace melflow
