#include "engine/files/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/error.h"

namespace melflow::files {
namespace {

constexpr off_t kMaxFileBytes = off_t{8} << 30;

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

int open_for_reading(const char* path) {
  int descriptor = -1;
  do {  // O_NONBLOCK: opening a pipe that nobody writes to must not wait for ever.
    descriptor = ::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

/// Where files are mapped now: let_go() must not touch memory that only looks like one.
struct Mappings {
  std::mutex mutex;
  std::map<const std::byte*, size_t> sizes;
};
Mappings& mappings() {
  static Mappings all;
  return all;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const std::string name = path.string();
  const Descriptor file(open_for_reading(path.c_str()));
  if (file.get() < 0) {
    throw Error(Exit::no_input, name + ": cannot be opened: " + std::strerror(errno) + "; check the path");
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    throw Error(Exit::no_input, name + ": cannot be examined: " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(Exit::no_input, name + ": is " + kind_of(status.st_mode) + ", not a file; name a regular file");
  }
  if (status.st_size == 0) throw Error(Exit::bad_data, name + ": is empty; write or fetch it again");
  if (status.st_size > kMaxFileBytes) {
    throw Error(Exit::bad_data, name + ": is larger than 8 GiB, the most that is read; split it");
  }
  const auto size = static_cast<size_t>(status.st_size);
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) {
    throw Error(Exit::no_input, name + ": cannot be mapped into memory: " + std::strerror(errno));
  }
  bytes_ = {static_cast<const std::byte*>(mapped), size};
  const std::lock_guard lock(mappings().mutex);
  mappings().sizes[bytes_.data()] = size;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  const std::lock_guard lock(mappings().mutex);
  mappings().sizes.erase(bytes_.data());
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedPart::MappedPart(const std::filesystem::path& path, uint64_t offset, uint64_t size) {
  if (size == 0) return;
  const std::string name = path.string();
  const Descriptor file(open_for_reading(path.c_str()));
  if (file.get() < 0) throw Error(Exit::no_input, name + ": cannot be read: " + std::strerror(errno));
  struct stat status {};
  const bool there = ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) &&
                     offset <= static_cast<uint64_t>(status.st_size) &&
                     size <= static_cast<uint64_t>(status.st_size) - offset;
  const auto before = offset % static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  length_ = size + before;
  if (there) base_ = ::mmap(nullptr, length_, PROT_READ, MAP_PRIVATE, file.get(), static_cast<off_t>(offset - before));
  if (!there || base_ == MAP_FAILED) {
    base_ = nullptr;
    throw Error(Exit::bad_data, name + ": is not what it was; leave it alone while it is read");
  }
  bytes_ = {static_cast<const std::byte*>(base_) + before, size};
}

MappedPart::~MappedPart() {
  if (base_ != nullptr) ::munmap(base_, length_);
}

void let_go(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::lock_guard lock(mappings().mutex);
  auto found = mappings().sizes.upper_bound(bytes.data());
  if (found == mappings().sizes.begin()) return;
  const auto [start, size] = *--found;
  if (bytes.data() + bytes.size() > start + size) return;
  // Linux maps what lies around a page that is touched, too, up to the borders of a large page: what was let go before
  // comes again with its neighbours, and would stay. What else lies between the borders is read again like the rest.
  constexpr uintptr_t kLarge = uintptr_t{2} << 20;
  const auto here = reinterpret_cast<uintptr_t>(bytes.data()), all = reinterpret_cast<uintptr_t>(start);
  const uintptr_t first = std::max(here / kLarge * kLarge, all);
  const uintptr_t last = std::min((here + bytes.size() + kLarge - 1) / kLarge * kLarge, all + size);
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace melflow::files
