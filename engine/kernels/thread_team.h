#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace melflow::engine {

/// As many as OMP_NUM_THREADS says, else as the machine has for this process.
int default_threads();
/// As many as were asked for; 0, or less: default_threads().
inline int threads_for(int asked) { return asked > 0 ? asked : default_threads(); }

/// Threads that do one piece of work together, meeting often: they wait awake for some microseconds, then asleep.
class ThreadTeam {
 public:
  /// One of those who work: which, and of how many.
  class Member {
   public:
    Member(int index, int size, ThreadTeam* team) : index_(index), size_(size), team_(team) {}
    int index() const { return index_; }
    int size() const { return size_; }
    /// Returns when every member has called it.
    void meet() const {
      if (size_ > 1) team_->meet();
    }
    /// Splits `panels` × `rows` evenly, in panel order: calls work(panel, first row, last row) for this member's share.
    /// Shares begin at multiples of `block` rows.
    template <typename Work>
    void share(int panels, int rows, int block, Work&& work) const {
      const auto edge = [&](int member) {
        const long at = static_cast<long>(panels) * rows * member / size_;
        return rows == 0 ? 0 : at - at % rows % block;
      };
      for (long at = edge(index_), end = edge(index_ + 1); at < end;) {
        const int panel = static_cast<int>(at / rows), first = static_cast<int>(at % rows);
        const int last = static_cast<int>(std::min<long>(rows, first + (end - at)));
        work(panel, first, last);
        at += last - first;
      }
    }

   private:
    int index_, size_;
    ThreadTeam* team_;
  };

  /// The caller of run() is one of the threads; at least one, and as many as the system gives.
  explicit ThreadTeam(int threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Calls work once in each thread and returns when all are done. `work` must not throw. Where another thread is using
  /// the team, the caller works alone rather than wait: several streams then share the machine.
  void run(const std::function<void(const Member&)>& work);

  /// Does two things, the second in another thread where there is one to spare. Returns when both are done, and throws
  /// what one of them threw.
  void both(const std::function<void()>& here, const std::function<void()>& there);

 private:
  void help(int index);
  void meet();

  std::vector<std::thread> helpers_;
  std::mutex in_use_;
  const std::function<void(const Member&)>* work_ = nullptr;  // null: the helpers go home
  std::atomic<unsigned> job_{0};                              // counts the calls of run()
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> meeting_{0};  // counts the meetings
};

}  // namespace melflow::engine
