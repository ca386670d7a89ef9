// The order of a training: complete, shuffled, and a function of the index alone.
#include "engine/data/sample_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace melflow::engine {
namespace {

/// 300 recordings of 1 to 3 segments in two archives.
SampleOrder order_of(int64_t window_samples, int64_t seed = 1) {
  std::vector<int64_t> samples;
  std::vector<bool> follows;
  for (int64_t i = 0; i < 300; ++i) {
    samples.push_back(100 * (1 + i % 3));
    follows.push_back(i != 0 && i != 150);
  }
  return SampleOrder(samples, follows, {.seed = seed, .segment_samples = 100, .window_samples = window_samples});
}

std::vector<int32_t> drawn(const SampleOrder& order, int64_t first, int64_t count) {
  std::vector<int32_t> out;
  while (static_cast<int64_t>(out.size()) < count) {
    const auto window = order.window_at(first + static_cast<int64_t>(out.size()));
    for (int64_t i = first + static_cast<int64_t>(out.size()); i < window.end() && i < first + count; ++i) {
      out.push_back(window.clips[static_cast<size_t>(window.chosen[static_cast<size_t>(i - window.first)])]);
    }
  }
  return out;
}

TEST(SampleOrder, AnEpochHearsEveryRecordingAsOftenAsItHasSegments) {
  for (const int64_t window : {1'000'000, 7'000, 1'000, 1}) {
    const auto order = order_of(window);
    ASSERT_EQ(order.epoch_entries(), 600);
    for (const int64_t epoch : {0, 5}) {
      std::map<int32_t, int> counts;
      for (const auto clip : drawn(order, epoch * 600, 600)) ++counts[clip];
      ASSERT_EQ(counts.size(), 300u);
      for (const auto& [clip, count] : counts) EXPECT_EQ(count, 1 + clip % 3) << window;
    }
  }
}

TEST(SampleOrder, IsAFunctionOfSeedAndIndex) {
  const auto order = order_of(7'000);
  const auto whole = drawn(order, 0, 1'800);
  for (const int64_t first : {0, 1, 599, 600, 1'234}) {
    const auto part = drawn(order, first, 300);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first)) << first;
  }
  EXPECT_NE(drawn(order, 0, 600), drawn(order, 600, 600));
  EXPECT_NE(drawn(order, 0, 600), drawn(order_of(7'000, 2), 0, 600));
}

TEST(SampleOrder, WindowsAreBoundedAndReadInRuns) {
  const auto order = order_of(6'400);
  int64_t index = 0;
  std::set<size_t> archives;
  while (index < order.epoch_entries()) {
    const auto window = order.window_at(index);
    int64_t size = 0, neighbours = 0;
    for (size_t i = 0; i < window.clips.size(); ++i) {
      size += 100 * (1 + window.clips[i] % 3);
      neighbours += i > 0 && window.clips[i] == window.clips[i - 1] + 1;
      archives.insert(static_cast<size_t>(window.clips[i] / 150));
    }
    EXPECT_LE(size, 6'400);
    EXPECT_EQ(window.first, index);
    // Nobody is heard in the order of the archive.
    EXPECT_FALSE(std::is_sorted(window.chosen.begin(), window.chosen.end()));
    index = window.end();
  }
  EXPECT_EQ(archives.size(), 2u);
}

TEST(SampleOrder, AWindowMixesFarParts) {
  const auto window = order_of(6'400).window_at(0);
  EXPECT_LT(window.clips.front(), 60);
  EXPECT_GT(window.clips.back(), 240);
}

TEST(SampleOrder, ARecordingHasTheNearestNumberOfSegmentsAndOneAtLeast) {
  const SampleOrder order({40, 149, 150, 260}, {false, true, true, true},
                          {.seed = 1, .segment_samples = 100, .window_samples = 1'000});
  std::map<int32_t, int> counts;
  for (const auto clip : drawn(order, 0, order.epoch_entries())) ++counts[clip];
  EXPECT_EQ(counts, (std::map<int32_t, int>{{0, 1}, {1, 1}, {2, 2}, {3, 3}}));
}

TEST(SampleOrder, AnotherEpochMixesOtherRecordings) {
  const auto order = order_of(6'400);
  EXPECT_NE(order.window_at(0).clips, order.window_at(order.epoch_entries()).clips);
}

}  // namespace
}  // namespace melflow::engine
