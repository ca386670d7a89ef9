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

/// Appends threads of work(first) … work(first + count - 1), or as many of them as the system gives: who asks for help
/// does without what there is not.
template <typename Thread, typename Work>
void start_threads(std::vector<Thread>& threads, int first, int count, const Work& work) {
  threads.reserve(threads.size() + static_cast<size_t>(std::max(count, 0)));
  try {
    for (int i = first; i < first + count; ++i) threads.emplace_back([work, i] { work(i); });
  } catch (const std::system_error&) {
  }
}

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
    const auto most = static_cast<int>(std::min(count, static_cast<size_t>(std::max(workers, 1))));
    start_threads(threads, 1, most - 1, [&run](int) { run(); });
    run();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace melflow::engine
