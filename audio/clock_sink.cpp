#include "audio/clock_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

namespace melflow::audio {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPeriod = 256;
constexpr int kBuffer = 8;        // periods
constexpr int kNobodyReads = -1;  // in place of a pipe's descriptor

int open_for_writing(const std::string& path) {
  int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  struct stat status {};
  if (descriptor < 0 && errno == EEXIST && ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    // Neither open() nor write() may wait: the one who plays may want to stop.
    descriptor = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0 && errno == ENXIO && S_ISFIFO(status.st_mode)) return kNobodyReads;
  }
  if (descriptor >= 0) return descriptor;
  if (errno == EEXIST) throw Error(Exit::cannot_create, path + ": exists already; name another file or remove it");
  throw Error(Exit::cannot_create, path + ": cannot be made (" + std::strerror(errno) + ")");
}

class ClockSink : public Sink {
 public:
  ClockSink(const std::string& path, int rate) : path_(path), file_(open_for_writing(path)), rate_(rate) {}
  ~ClockSink() override {
    abort();
    if (file_ != kNobodyReads) ::close(file_);
  }
  ClockSink(const ClockSink&) = delete;
  ClockSink& operator=(const ClockSink&) = delete;

  int sample_rate() const override { return rate_; }
  void start(PlaybackCore& core) override {
    thread_ = std::thread([this, &core] { run(core); });
  }
  bool alive() const override { return alive_.load(std::memory_order_acquire); }
  // A reader that leaves a pipe is a device that goes; a file that cannot be written is another matter.
  std::string problem() const override {
    const int error = error_.load(std::memory_order_acquire);
    if (error == 0 || error == EPIPE) return {};
    return path_ + ": cannot be written: " + std::strerror(error) + "; make room or write elsewhere";
  }
  double latency_seconds() const override { return static_cast<double>(kPeriod) / rate_; }
  uint64_t late_calls() const override { return late_calls_.load(std::memory_order_relaxed); }
  // A period is heard when it is written.
  void drain() override { abort(); }
  void abort() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    stopped_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void run(PlaybackCore& core) {
    while (file_ == kNobodyReads) {  // Player loses its patience after five seconds
      if (!wait_until(Clock::now() + std::chrono::milliseconds(20))) return;
      file_ = ::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    }
    std::vector<float> period(kPeriod);
    const auto begin = Clock::now();
    const auto time_of = [&](uint64_t samples) {
      return begin + std::chrono::nanoseconds(samples / static_cast<uint64_t>(rate_) * 1'000'000'000 +
                                              samples % static_cast<uint64_t>(rate_) * 1'000'000'000 /
                                                  static_cast<uint64_t>(rate_));
    };
    bool good = true;
    for (uint64_t taken = 0; good && wait_until(time_of(taken)); taken += kPeriod) {
      if (Clock::now() > time_of(taken + kBuffer * kPeriod)) late_calls_.fetch_add(1, std::memory_order_relaxed);
      core.fill(period);
      good = write(period);
    }
    alive_.store(false, std::memory_order_release);
  }

  /// False when the sink is to stop.
  bool wait_until(Clock::time_point time) {
    std::unique_lock lock(mutex_);
    return !stopped_.wait_until(lock, time, [this] { return stop_; });
  }

  bool write(const std::vector<float>& period) {
    const auto* bytes = reinterpret_cast<const char*>(period.data());
    for (size_t done = 0; done < period.size() * sizeof(float);) {
      const ssize_t n = ::write(file_, bytes + done, period.size() * sizeof(float) - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {  // a reader that takes its time
        if (!wait_until(Clock::now() + std::chrono::milliseconds(2))) return false;
        continue;
      }
      if (n <= 0) {
        error_.store(errno, std::memory_order_release);
        return false;
      }
      done += static_cast<size_t>(n);
    }
    return true;
  }

  std::string path_;
  int file_;  // of the thread's own, once that is there
  int rate_;
  std::atomic<int> error_{0};
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::atomic<bool> alive_{true};
  std::atomic<uint64_t> late_calls_{0};
};

}  // namespace

std::unique_ptr<Sink> open_clock_sink(const std::string& path, int rate) {
  return std::make_unique<ClockSink>(path, rate);
}

}  // namespace melflow::audio
