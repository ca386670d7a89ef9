#include "engine/kernels/thread_team.h"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "engine/parallel.h"

namespace melflow::engine {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Returns when `value` is no longer `old`: at once for the short waits between two layers, asleep for long ones.
void wait_while(const std::atomic<unsigned>& value, unsigned old) {
  constexpr int kAwake = 2000;  // pauses: some tens of microseconds
  for (int i = 0; i < kAwake; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

int default_threads() {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  const int threads = wanted != nullptr ? std::atoi(wanted) : 0;
  return std::max(1, threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadTeam::ThreadTeam(int threads) {
  // Where they become fewer, no helper has asked for size() yet: that it does in run().
  start_threads(helpers_, 1, threads - 1, [this](int i) { help(i); });
}

ThreadTeam::~ThreadTeam() {
  work_ = nullptr;
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void ThreadTeam::run(const std::function<void(const Member&)>& work) {
  const std::unique_lock lock(in_use_, std::try_to_lock);
  if (!lock || helpers_.empty()) return work(Member(0, 1, this));
  work_ = &work;
  job_.fetch_add(1, std::memory_order_release);
  job_.notify_all();
  work(Member(0, size(), this));
  meet();
}

void ThreadTeam::both(const std::function<void()>& here, const std::function<void()>& there) {
  std::exception_ptr failures[2];
  const auto attempt = [](const std::function<void()>& work, std::exception_ptr& failure) {
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  };
  run([&](const Member& member) {
    if (member.index() == 0) attempt(here, failures[0]);
    if (member.index() == member.size() - 1) attempt(there, failures[1]);
  });
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

void ThreadTeam::help(int index) {
  for (unsigned seen = 0;;) {
    wait_while(job_, seen);
    ++seen;
    if (!work_) return;
    (*work_)(Member(index, size(), this));
    meet();
  }
}

void ThreadTeam::meet() {
  const unsigned now = meeting_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
    arrived_.store(0, std::memory_order_relaxed);
    meeting_.fetch_add(1, std::memory_order_release);
    meeting_.notify_all();
  } else {
    wait_while(meeting_, now);
  }
}

}  // namespace melflow::engine
