#include "audio/quiet_threads.h"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <mutex>

namespace melflow::audio {
namespace {

thread_local bool quiet = false;

#ifdef __GLIBC__
ssize_t write_unless_quiet(void* /*cookie*/, const char* text, size_t size) {
  for (size_t at = 0; !quiet && at < size;) {
    const ssize_t n = ::write(STDERR_FILENO, text + at, size - at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return static_cast<ssize_t>(at);
    at += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(size);
}
#endif

}  // namespace

void install_quiet_stderr() {
#ifdef __GLIBC__
  static std::once_flag once;
  std::call_once(once, [] {
    std::FILE* file = ::fopencookie(nullptr, "w", {nullptr, write_unless_quiet, nullptr, nullptr});
    if (file == nullptr) return;
    std::setvbuf(file, nullptr, _IONBF, 0);
    stderr = file;
  });
#endif
}

void quiet_this_thread() noexcept { quiet = true; }

}  // namespace melflow::audio
