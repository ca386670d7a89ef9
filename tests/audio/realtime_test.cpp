// What a sound device's callback may not do, found by standing in for every function that allocates, locks, waits or
// writes: this executable defines them itself and passes them on. A program of its own, because of that.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <portaudio.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "audio/player.h"
#include "audio/portaudio_io.h"
#include "tests/audio/alsa_config.h"
#include "tests/audio/signals.h"

namespace {

thread_local bool in_callback = false;
std::atomic<uint64_t> forbidden{0};
std::atomic<const char*> first_forbidden{nullptr};

void note(const char* name) {
  if (!in_callback) return;
  forbidden.fetch_add(1);
  const char* none = nullptr;
  first_forbidden.compare_exchange_strong(none, name);
}

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

// Names of our own in C++, the C library's for the linker: so the headers' declarations do not matter.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

void* seen_malloc(size_t n) __asm__("malloc");
void* seen_malloc(size_t n) { return note("malloc"), __libc_malloc(n); }
void* seen_calloc(size_t n, size_t size) __asm__("calloc");
void* seen_calloc(size_t n, size_t size) { return note("calloc"), __libc_calloc(n, size); }
void* seen_realloc(void* p, size_t n) __asm__("realloc");
void* seen_realloc(void* p, size_t n) { return note("realloc"), __libc_realloc(p, n); }
void* seen_aligned_alloc(size_t alignment, size_t n) __asm__("aligned_alloc");
void* seen_aligned_alloc(size_t alignment, size_t n) { return note("aligned_alloc"), __libc_memalign(alignment, n); }
void seen_free(void* p) __asm__("free");
void seen_free(void* p) { note("free"), __libc_free(p); }

// Six arguments in registers are passed on whatever they are: none of these takes more, and the answers are integers.
#define STAND_IN_FOR(name)                                                             \
  long seen_##name(long, long, long, long, long, long) __asm__(#name);                 \
  long seen_##name(long a, long b, long c, long d, long e, long f) {                   \
    static long (*next)(long, long, long, long, long, long) = nullptr;                 \
    note(#name);                                                                       \
    if (next == nullptr) next = real<long(long, long, long, long, long, long)>(#name); \
    return next(a, b, c, d, e, f);                                                     \
  }
STAND_IN_FOR(pthread_mutex_lock)
STAND_IN_FOR(pthread_mutex_trylock)
STAND_IN_FOR(pthread_mutex_unlock)
STAND_IN_FOR(pthread_rwlock_rdlock)
STAND_IN_FOR(pthread_rwlock_wrlock)
STAND_IN_FOR(pthread_spin_lock)
STAND_IN_FOR(pthread_cond_wait)
STAND_IN_FOR(pthread_cond_timedwait)
STAND_IN_FOR(pthread_cond_clockwait)
STAND_IN_FOR(pthread_cond_signal)
STAND_IN_FOR(pthread_cond_broadcast)
STAND_IN_FOR(sem_wait)
STAND_IN_FOR(sem_post)
STAND_IN_FOR(nanosleep)
STAND_IN_FOR(clock_nanosleep)
STAND_IN_FOR(usleep)
STAND_IN_FOR(sched_yield)
STAND_IN_FOR(poll)
STAND_IN_FOR(ppoll)
STAND_IN_FOR(select)
STAND_IN_FOR(read)
STAND_IN_FOR(write)
STAND_IN_FOR(open)
STAND_IN_FOR(close)
STAND_IN_FOR(fsync)
STAND_IN_FOR(fwrite)
STAND_IN_FOR(fputs)
STAND_IN_FOR(fflush)
#undef STAND_IN_FOR
}

namespace {

/// The callback that melflow gave to PortAudio, and what to do when PortAudio calls.
struct Taken {
  PaStreamCallback* callback = nullptr;
  void* user = nullptr;
  bool pass_on = true;
  std::atomic<uint64_t> calls{0};
} taken;

int watched(const void* in, void* out, unsigned long frames, const PaStreamCallbackTimeInfo* time,
            PaStreamCallbackFlags flags) {
  in_callback = true;
  const int answer = taken.callback(in, out, frames, time, flags, taken.user);
  in_callback = false;
  taken.calls.fetch_add(1, std::memory_order_relaxed);
  return answer;
}

int between(const void* in, void* out, unsigned long frames, const PaStreamCallbackTimeInfo* time,
            PaStreamCallbackFlags flags, void*) {
  if (taken.pass_on) return watched(in, out, frames, time, flags);
  std::fill_n(static_cast<float*>(out), frames, 0.0f);
  return paContinue;
}

}  // namespace

extern "C" PaError Pa_OpenStream(PaStream** stream, const PaStreamParameters* in, const PaStreamParameters* out,
                                 double rate, unsigned long frames, PaStreamFlags flags, PaStreamCallback* callback,
                                 void* user) {
  taken.callback = callback;
  taken.user = user;
  return real<decltype(Pa_OpenStream)>("Pa_OpenStream")(stream, in, out, rate, frames, flags, &between, nullptr);
}

namespace melflow::audio {
namespace {

class RealTime : public ::testing::Test {
 protected:
  RealTime() { reset(); }
  static void reset() {
    forbidden = 0;
    first_forbidden = nullptr;
    taken.calls = 0;
  }
  static std::string what() { return first_forbidden != nullptr ? first_forbidden.load() : "nothing"; }
  melflow::testing::AlsaConfig config_{melflow::testing::null_device()};
};

TEST_F(RealTime, TheStandInsSeeWhatIsForbidden) {
  static std::mutex mutex;
  static void* memory = nullptr;
  const std::pair<const char*, void (*)()> cases[] = {
      {"malloc", [] { memory = ::operator new(100); }},
      {"free", [] { ::operator delete(memory); }},
      {"pthread_mutex_lock", [] { mutex.lock(); }},
      {"pthread_mutex_unlock", [] { mutex.unlock(); }},
      {"sched_yield", [] { std::this_thread::yield(); }},
      {"fputs", [] { std::fputs("", stderr); }},
      {"read", [] { EXPECT_EQ(::read(-1, nullptr, 0), -1); }},
  };
  for (const auto& [name, act] : cases) {
    reset();
    in_callback = true;
    act();
    in_callback = false;
    EXPECT_EQ(what(), name);
    EXPECT_EQ(forbidden.load(), 1u) << name;
  }
}

// The callback that PortAudio was given, called here, while the player pushes, starves, pauses, jumps and ends.
TEST_F(RealTime, AMillionCallbacksNeitherAllocateNorLockNorWait) {
  if (list_devices().empty()) GTEST_SKIP() << "PortAudio has no ALSA here";
  taken.pass_on = false;
  constexpr uint64_t kCallbacks = 1'000'000;
  constexpr size_t kFrames = 64;
  Player player({.prebuffer_seconds = 0.01, .buffer_seconds = 0.1});
  std::atomic<bool> over{false};
  std::thread device([&] {
    std::vector<float> out(kFrames);
    const PaStreamCallbackTimeInfo time{};
    for (uint64_t i = 0; i < kCallbacks; ++i) {
      watched(nullptr, out.data(), kFrames, &time, i % 1000 == 0 ? paOutputUnderflow : 0);
    }
    over = true;
  });
  const auto sound = melflow::testing::noise(1000);
  for (int i = 1; !over; ++i) {
    if (player.offer(sound) == 0) std::this_thread::yield();
    if (i % 5000 == 0) player.pause(i % 10000 == 0);
    if (i % 7000 == 0) player.drop();
    if (i % 9000 == 0) player.end();
  }
  device.join();
  EXPECT_EQ(taken.calls.load(), kCallbacks);
  EXPECT_EQ(forbidden.load(), 0u) << "the first: " << what();
  EXPECT_GT(player.position(), 1000u);
  EXPECT_GT(player.underruns(), 0u);
  EXPECT_GE(player.late_calls(), kCallbacks / 1000);
}

// The same in PortAudio's own thread.
TEST_F(RealTime, NeitherDoesItInPortAudiosThread) {
  if (list_devices().empty()) GTEST_SKIP() << "PortAudio has no ALSA here";
  taken.pass_on = true;
  Player player({.prebuffer_seconds = 0.01, .buffer_seconds = 0.1});
  const auto sound = melflow::testing::noise(22050);
  for (int i = 0; i < 20; ++i) player.push(sound);
  player.finish();
  EXPECT_GT(taken.calls.load(), 100u);
  EXPECT_EQ(forbidden.load(), 0u) << "the first: " << what();
}

}  // namespace
}  // namespace melflow::audio
