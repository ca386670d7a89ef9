#include "engine/files/temporary_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace melflow::files {
namespace {

Error failed(Exit code, const std::string& what) {
  return {code, "a temporary file cannot be " + what + ": " + std::strerror(errno)};
}

}  // namespace

TemporaryFile::TemporaryFile() {
  std::error_code unknown;
  auto name = (std::filesystem::temp_directory_path(unknown) / "melflow-XXXXXX").string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw failed(Exit::cannot_create, "made");
  ::unlink(name.c_str());
}

TemporaryFile::~TemporaryFile() { ::close(descriptor_); }

void TemporaryFile::append(std::span<const std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const auto n = ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw failed(Exit::io_error, "written");
    done += static_cast<size_t>(n);
  }
  size_ += bytes.size();
}

void TemporaryFile::read(uint64_t at, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    errno = 0;
    const auto n = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw failed(Exit::io_error, "read");
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
}

}  // namespace melflow::files
