#include "tests/engine/faults.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <iostream>
#include <string>

#include "base/error.h"

namespace melflow::testing {

void Faults::begin(int call, Fault fault) {
  on = true;
  calls = 0;
  at = call;
  kind = fault;
}

int Faults::next(size_t* bytes, bool may_be_interrupted) {
  if (!on || calls++ != at) return 0;
  switch (kind) {
    case Fault::killed:
      raise(SIGKILL);
      return 0;
    case Fault::no_space:
      return ENOSPC;
    case Fault::io_error:
      return EIO;
    case Fault::quota:
      return EDQUOT;
    case Fault::interrupted:
      return may_be_interrupted ? EINTR : 0;
    case Fault::short_write_then_killed:
      if (bytes != nullptr) ++at;  // the rest of the write, or what comes after it
      kind = Fault::killed;
      [[fallthrough]];
    case Fault::short_write:
      if (bytes != nullptr) *bytes = (*bytes + 1) / 2;
      return 0;
    case Fault::none:
      return 0;
  }
  return 0;
}

Ending run_with_fault(const std::filesystem::path& folder, int call, Fault fault, const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    std::cerr.setstate(std::ios::failbit);  // hundreds of words on what is expected
    auto ending = Ending::done;
    Faults::begin(call, fault);
    try {
      work();
    } catch (const Error& e) {
      const bool named = std::string(e.what()).find(folder.string()) != std::string::npos;
      const bool right = e.code() == Exit::io_error || e.code() == Exit::cannot_create || e.code() == Exit::bad_data;
      ending = named && right ? Ending::refused : Ending::wrong;
    }
    _exit(static_cast<int>(Faults::calls > call ? ending : Ending::not_reached));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL ? Ending::died : Ending::wrong;
  return static_cast<Ending>(WEXITSTATUS(status));
}

}  // namespace melflow::testing

namespace {

using melflow::testing::Faults;

template <typename... Arguments>
auto call_or_fail(int error, long number, Arguments... arguments) {
  if (error == 0) return syscall(number, arguments...);
  errno = error;
  return -1L;
}

}  // namespace

extern "C" {
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return static_cast<int>(call_or_fail(Faults::next(nullptr, true), SYS_openat, AT_FDCWD, path, flags, mode));
}
ssize_t write(int descriptor, const void* data, size_t bytes) {
  const int error = Faults::next(&bytes, true);
  return call_or_fail(error, SYS_write, descriptor, data, bytes);
}
// What dies here are processes, and what they have written stays: there is no need to wait for a disk.
int fsync(int) {
  errno = Faults::next(nullptr, true);
  return errno == 0 ? 0 : -1;
}
int close(int descriptor) {
  const int error = Faults::next(nullptr, true);
  const long done = syscall(SYS_close, descriptor);  // a close that fails has closed all the same
  return static_cast<int>(error == 0 ? done : call_or_fail(error, SYS_close, -1));
}
int rename(const char* from, const char* to) noexcept {
  return static_cast<int>(call_or_fail(Faults::next(), SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}
int unlink(const char* path) noexcept {
  return static_cast<int>(call_or_fail(Faults::next(), SYS_unlinkat, AT_FDCWD, path, 0));
}
int remove(const char* path) noexcept {
  const int error = Faults::next();
  const long done = call_or_fail(error, SYS_unlinkat, AT_FDCWD, path, 0);
  const bool folder = error == 0 && done != 0 && errno == EISDIR;
  return static_cast<int>(folder ? syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR) : done);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(call_or_fail(Faults::next(), SYS_mkdirat, AT_FDCWD, path, mode));
}
}
