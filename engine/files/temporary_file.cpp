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

Error failed(Exit code, const std::string& what, const std::string& why) {
  return {code, "a temporary file (TMPDIR) cannot be " + what + ": " + why};
}

}  // namespace

TemporaryFile::TemporaryFile() {
  std::error_code error;
  const auto folder = std::filesystem::temp_directory_path(error);
  if (error) throw failed(Exit::cannot_create, "made", error.message());
  auto name = (folder / "melflow-XXXXXX").string();
  descriptor_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw failed(Exit::cannot_create, "made", std::strerror(errno));
  ::unlink(name.c_str());
}

TemporaryFile::~TemporaryFile() { ::close(descriptor_); }

void TemporaryFile::append(std::span<const std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const auto n = ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const auto failure = failed(Exit::io_error, "written", std::strerror(errno));
      [[maybe_unused]] const int given_back = ::ftruncate(descriptor_, static_cast<off_t>(size_));
      throw failure;
    }
    done += static_cast<size_t>(n);
  }
  size_ += bytes.size();
}

void TemporaryFile::read(uint64_t at, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const auto n = ::pread(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw failed(Exit::io_error, "read", n == 0 ? "it ends early" : std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
}

}  // namespace melflow::files
