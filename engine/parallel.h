#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace melflow::engine {

/// Calls work(0) … work(count - 1), each once, from at most `workers` threads, this one among them. The first exception
/// ends what is not begun yet and is thrown here.
template <typename Work>
void parallel_for(size_t count, int workers, Work&& work) {
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      for (size_t i; (i = next++) < count;) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (size_t i = 1; i < std::min(count, static_cast<size_t>(std::max(workers, 1))); ++i) threads.emplace_back(run);
    } catch (const std::system_error&) {
      // The system gives no more threads: those that are there do all of it.
    }
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace melflow::engine
