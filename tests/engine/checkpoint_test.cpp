#include "engine/train/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <set>

#include "audio/error.h"
#include "tests/engine/reference.h"

// Stands in for the system calls by which a save changes the disk, in this whole program: each is counted between
// Faults::begin and the end of the process, and the chosen one goes wrong.
namespace melflow::testing {

enum class Fault { none, killed, no_space, io_error, quota, interrupted, short_write, short_write_then_killed };

struct Faults {
  static inline bool on = false;
  static inline int calls = 0, at = -1;
  static inline Fault kind = Fault::none;

  static void begin(int call, Fault fault) {
    on = true;
    calls = 0;
    at = call;
    kind = fault;
  }
  /// errno where this call is to fail, else 0; `bytes` of a write may become fewer.
  static int next(size_t* bytes = nullptr, bool may_be_interrupted = false) {
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
};

template <typename... Arguments>
auto call_or_fail(int error, long number, Arguments... arguments) {
  if (error == 0) return syscall(number, arguments...);
  errno = error;
  return -1L;
}

}  // namespace melflow::testing

using melflow::testing::call_or_fail;
using melflow::testing::Faults;

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

namespace melflow::engine {
namespace {

using melflow::testing::Fault;
using melflow::testing::TempDir;

/// A run of one small layer, the numbers of which tell the step.
struct SmallRun {
  torch::nn::Linear model{3, 2};
  Adam adam{model->parameters(), {}};
  std::map<std::string, torch::Tensor> average{{"weight", torch::zeros({2, 3})}};

  void be_at(int64_t step) {
    const torch::NoGradGuard no_grad;
    for (auto& p : model->parameters()) p.fill_(static_cast<double>(step));
    average["weight"].fill_(static_cast<double>(-step));
  }
  void save(const std::filesystem::path& run, int64_t step, int64_t keep) {
    be_at(step);
    save_checkpoint(run, {.step = step}, *model, {}, average, adam, keep);
  }
  /// The step that the folder holds, or -1 for none; every number must be of that step.
  static int64_t in(const std::filesystem::path& run) {
    SmallRun found;
    found.be_at(1000);
    const auto state = load_checkpoint(run, *found.model, {}, found.average, found.adam);
    if (!state) return -1;
    const auto step = static_cast<double>(state->step);
    for (const auto& p : found.model->parameters()) EXPECT_TRUE(p.eq(step).all().item<bool>());
    EXPECT_TRUE(found.average["weight"].eq(-step).all().item<bool>());
    return state->step;
  }
};

/// Saves step 3 beside 1 and 2 in another process, where call number `call` of the save goes wrong; 1 is to go, and 2
/// stays. How the process ended, as waitpid tells it.
int save_with_fault(const std::filesystem::path& run, int call, Fault fault) {
  std::filesystem::remove_all(run);
  SmallRun training;
  training.save(run, 1, 5);
  training.save(run, 2, 5);
  const pid_t child = fork();
  if (child == 0) {
    melflow::testing::Faults::begin(call, fault);
    int code = 0;
    try {
      training.save(run, 3, 2);
    } catch (const Error& e) {
      const bool names_it = std::string(e.what()).find(run.string()) != std::string::npos;
      const bool right = e.code() == Exit::io_error || e.code() == Exit::cannot_create;
      code = names_it && right ? 1 : 2;
    }
    const bool reached = melflow::testing::Faults::calls > call;
    _exit(reached ? code : 3);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

TEST(Checkpoint, OldOnesSurviveAWriterThatFailsOrDiesAtAnySystemCall) {
  torch::set_num_threads(1);  // what forks has no threads
  const TempDir folder;
  const auto run = folder / "run";
  int points = 0;
  for (const auto fault : {Fault::killed, Fault::no_space, Fault::io_error, Fault::quota, Fault::interrupted,
                           Fault::short_write, Fault::short_write_then_killed}) {
    int call = 0;
    for (int status = 0;; ++call) {
      status = save_with_fault(run, call, fault);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 3) break;
      ASSERT_LT(call, 100);
      ++points;
      const bool saved = WIFEXITED(status) && WEXITSTATUS(status) == 0;
      const bool refused = WIFEXITED(status) && WEXITSTATUS(status) == 1;
      const bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
      const auto where = "fault " + std::to_string(static_cast<int>(fault)) + " at call " + std::to_string(call);
      EXPECT_TRUE(saved || refused || died) << where << ": " << status;
      EXPECT_TRUE(saved || (fault != Fault::interrupted && fault != Fault::short_write)) << where;
      const auto step = SmallRun::in(run);
      EXPECT_TRUE(step == 3 || (step == 2 && !saved)) << where << " left step " << step;
      // Whatever is newest, its predecessor is there too: the old ones go when the new one is durable.
      EXPECT_TRUE(std::filesystem::exists(run / "checkpoints" / ("step-" + std::to_string(step - 1) + ".safetensors")))
          << where;
      SmallRun again;
      again.save(run, 4, 2);  // and what was left behind is in nobody's way
      EXPECT_EQ(SmallRun::in(run), 4) << where;
      const auto files = std::distance(std::filesystem::directory_iterator(run / "checkpoints"), {});
      EXPECT_EQ(files, 2) << where;
    }
    EXPECT_GT(call, 10);
  }
  RecordProperty("points", points);
  std::printf("%d points\n", points);
}

TEST(Checkpoint, OneByteThatChangedIsFoundAndTheOneBeforeTaken) {
  const TempDir folder;
  SmallRun training;
  for (const int64_t step : {1, 2, 3}) training.save(folder.path(), step, 5);
  const auto newest = folder / "checkpoints/step-3.safetensors";
  std::fstream file(newest, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-2, std::ios::end);
  file.put('!');
  file.close();
  EXPECT_EQ(SmallRun::in(folder.path()), 2);
  std::filesystem::resize_file(folder / "checkpoints/step-2.safetensors", 70);
  EXPECT_EQ(SmallRun::in(folder.path()), 1);
  std::ofstream(folder / "checkpoints/step-9.safetensors") << "";
  EXPECT_EQ(SmallRun::in(folder.path()), 1);
}

TEST(Checkpoint, WhereNoneIsWholeTheRunIsNotBegunAnew) {
  const TempDir folder;
  SmallRun training;
  training.save(folder.path(), 5, 1);
  std::filesystem::resize_file(folder / "checkpoints/step-5.safetensors", 100);
  try {
    SmallRun::in(folder.path());
    FAIL() << "it was";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Exit::bad_data);
    EXPECT_NE(std::string(e.what()).find((folder / "checkpoints").string()), std::string::npos) << e.what();
  }
}

TEST(Checkpoint, OneThatIsDamagedDoesNotCountAmongThoseKept) {
  const TempDir folder;
  SmallRun training;
  training.save(folder.path(), 2, 2);
  training.save(folder.path(), 9, 2);
  std::filesystem::resize_file(folder / "checkpoints/step-9.safetensors", 100);
  ASSERT_EQ(SmallRun::in(folder.path()), 2);
  training.save(folder.path(), 3, 1);  // the run that goes on from 2
  EXPECT_EQ(SmallRun::in(folder.path()), 3);
}

TEST(Checkpoint, TheNewestKAreKept) {
  const TempDir folder;
  SmallRun training;
  for (int64_t step = 1; step <= 12; ++step) training.save(folder.path(), step, 3);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "checkpoints")) {
    names.insert(entry.path().filename().string());
  }
  EXPECT_EQ(names, (std::set<std::string>{"step-10.safetensors", "step-11.safetensors", "step-12.safetensors"}));
}

}  // namespace
}  // namespace melflow::engine
