#include "audio/ring_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace melflow::audio {
namespace {

TEST(RingBuffer, MovesWhatFitsAndSaysHowMuch) {
  RingBuffer ring(3);
  EXPECT_EQ(ring.capacity(), 4u);
  const std::vector<float> in = {1, 2, 3, 4, 5, 6};
  std::vector<float> out(3, 0.0f);
  EXPECT_EQ(ring.pop(out), 0u);
  EXPECT_EQ(ring.push(in), 4u);
  EXPECT_EQ(ring.size(), 4u);
  EXPECT_EQ(ring.push(in), 0u);
  EXPECT_EQ(ring.pop(out), 3u);
  EXPECT_EQ(out, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(ring.push({in.data() + 4, 2}), 2u);
  EXPECT_EQ(ring.pop(out), 3u);
  EXPECT_EQ(out, (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(ring.size(), 0u);
  EXPECT_EQ(ring.push({}), 0u);
}

/// Pushes `total` numbers through the ring in pieces of changing size while another thread pops and checks them.
void push_through(size_t capacity, size_t total) {
  RingBuffer ring(capacity);
  // A float counts exactly up to 2^24.
  constexpr size_t kWrap = size_t{1} << 24;
  size_t wrong = 0;
  std::thread consumer([&] {
    std::vector<float> piece(2 * capacity + 1);
    size_t received = 0;
    for (size_t round = 1; received < total; ++round) {
      const size_t count = ring.pop({piece.data(), 1 + round * 7 % piece.size()});
      for (size_t i = 0; i < count; ++i) wrong += piece[i] != static_cast<float>((received + i) % kWrap);
      received += count;
      if (count == 0) std::this_thread::yield();
    }
  });
  std::vector<float> piece(2 * capacity + 1);
  size_t sent = 0;
  for (size_t round = 1; sent < total; ++round) {
    const size_t count = std::min(total - sent, 1 + round * 5 % piece.size());
    for (size_t i = 0; i < count; ++i) piece[i] = static_cast<float>((sent + i) % kWrap);
    const size_t taken = ring.push({piece.data(), count});
    sent += taken;
    if (taken == 0) std::this_thread::yield();
  }
  consumer.join();
  EXPECT_EQ(wrong, 0u) << "capacity " << capacity;
  EXPECT_EQ(ring.size(), 0u);
}

TEST(RingBuffer, DeliversEverySampleInOrderBetweenTwoThreads) {
  // MELFLOW_SOAK: how many instead. ThreadSanitizer sees 10^7 in .ci/run.
  const char* soak = std::getenv("MELFLOW_SOAK");
  push_through(1024, soak != nullptr ? std::stoull(soak) : size_t{10'000'000});
}

TEST(RingBuffer, DiscardsWhatTheProducerHasNamed) {
  RingBuffer ring(8);
  std::vector<float> out(8);
  ring.push(std::vector<float>{1, 2, 3, 4});
  EXPECT_EQ(ring.pop({out.data(), 1}), 1u);
  const size_t here = ring.pushed();
  ring.push(std::vector<float>{5, 6});
  ring.discard_to(here);
  EXPECT_EQ(ring.popped(), here);
  EXPECT_EQ(ring.size(), 2u);
  ring.discard_to(here - 2);  // gone already: nothing happens
  EXPECT_EQ(ring.pop(out), 2u);
  EXPECT_EQ(out[0], 5.0f);
  EXPECT_EQ(ring.push(std::vector<float>(9, 7.0f)), 8u);
}

TEST(RingBuffer, DeliversEverySampleWhateverItsSize) {
  for (size_t capacity = 1; capacity <= (1u << 16); capacity *= 4)
    push_through(capacity, std::min<size_t>(50'000, 2000 * capacity));
}

}  // namespace
}  // namespace melflow::audio
