#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>

namespace melflow::testing {

/// How a system call goes wrong: the process dies in its place, it fails, or it does less than it was asked to.
enum class Fault { none, killed, no_space, io_error, quota, interrupted, short_write, short_write_then_killed };

/// faults.cpp stands in for the system calls that change the disk, and for open, in this whole program: each is counted
/// between begin() and the end of the process, and the chosen one goes wrong. (Not those within libc: of the streams of
/// iostream that is all but write; nor those that only look: stat, readdir, mmap.)
struct Faults {
  static inline bool on = false;
  static inline int calls = 0, at = -1;
  static inline Fault kind = Fault::none;

  static void begin(int call, Fault fault);
  /// errno where this call is to fail, else 0; `bytes` of a write may become fewer.
  static int next(size_t* bytes = nullptr, bool may_be_interrupted = false);
};

enum class Ending {
  done,         ///< all was well
  refused,      ///< an Error{io_error, cannot_create, bad_data} that names something in the folder
  died,         ///< by the fault
  not_reached,  ///< there are not so many calls
  wrong         ///< any other
};

/// Forks, and runs `work` in the child, call number `call` of which goes wrong. Torch must have one thread.
Ending run_with_fault(const std::filesystem::path& folder, int call, Fault fault, const std::function<void()>& work);

}  // namespace melflow::testing
