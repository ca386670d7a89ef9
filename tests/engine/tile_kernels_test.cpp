#include "engine/kernels/tile_kernels.h"

#include <atomic>
#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/kernels/panel_matrix.h"
#include "engine/kernels/thread_team.h"

namespace melflow::engine {
namespace {

/// Rows of numbers that do not lie one after another, as a tile's rows need not.
struct Rows {
  Rows(int count, int depth, unsigned seed) : values(static_cast<size_t>(count * (depth + 5))) {
    std::mt19937 random(seed);
    for (float& v : values) v = std::normal_distribution<float>()(random);
    for (int r = 0; r < count; ++r) rows.push_back(values.data() + (count - 1 - r) * (depth + 5));
  }
  std::vector<float> values;
  std::vector<const float*> rows;
};

PanelMatrix random_matrix(const TileKernels& kernels, int depth, int columns) {
  PanelMatrix out(kernels, depth, columns);
  std::mt19937 random(2);
  for (int k = 0; k < depth; ++k) {
    for (int c = 0; c < columns; ++c) out.at(k, c) = std::normal_distribution<float>()(random);
  }
  for (int c = 0; c < columns; ++c) out.bias(c) = std::normal_distribution<float>()(random);
  return out;
}

/// rows · matrix + bias: [rows, columns].
std::vector<float> product(const TileKernels& kernels, const Rows& rows, int depth, int columns) {
  const auto matrix = random_matrix(kernels, depth, columns);
  const int count = static_cast<int>(rows.rows.size());
  AlignedFloats sums(static_cast<size_t>(count * kernels.width));
  std::vector<float> out(static_cast<size_t>(count * columns));
  for (int panel = 0; panel < matrix.panels(); ++panel) {
    matrix.start(panel, count, sums.data());
    matrix.add(panel, 0, depth, rows.rows.data(), count, sums.data());
    for (int r = 0; r < count; ++r) {
      for (int c = panel * kernels.width; c < std::min(columns, (panel + 1) * kernels.width); ++c) {
        out[static_cast<size_t>(r * columns + c)] = sums.data()[r * kernels.width + c - panel * kernels.width];
      }
    }
  }
  return out;
}

class TileKernelsTest : public ::testing::TestWithParam<const TileKernels*> {};

TEST_P(TileKernelsTest, MultiplyEqualsThePlainVersion) {
  for (const int count : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 96}) {
    for (const int depth : {1, 3, 40, 256, 1408}) {
      constexpr int kColumns = 70;
      const Rows rows(count, depth, 7);
      const auto actual = product(*GetParam(), rows, depth, kColumns);
      const auto expected = product(plain_tile_kernels(), rows, depth, kColumns);
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(actual[i], expected[i], 2e-6 * std::sqrt(depth) + 1e-6) << count << " rows, depth " << depth;
      }
    }
  }
}

// What makes streaming equal offline synthesis: not a bit of a row depends on the rows beside it.
TEST_P(TileKernelsTest, ARowIsTheSameAloneAndAmongOthers) {
  constexpr int kDepth = 300, kColumns = 64, kCount = 29;
  Rows rows(kCount, kDepth, 9);
  const auto together = product(*GetParam(), rows, kDepth, kColumns);
  const auto all = rows.rows;
  for (const int count : {1, 2, 5, 8}) {
    for (int first = 0; first + count <= kCount; first += count) {
      rows.rows.assign(all.begin() + first, all.begin() + first + count);
      const auto alone = product(*GetParam(), rows, kDepth, kColumns);
      ASSERT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + first * kColumns)) << count << " rows";
    }
  }
}

TEST_P(TileKernelsTest, GateIsTanhTimesSigmoidToThreeTimesTenToTheMinusSeven) {
  const auto& kernels = *GetParam();
  const int half = kernels.width / 2;
  AlignedFloats sums(static_cast<size_t>(kernels.width));
  std::vector<float> out(static_cast<size_t>(half));
  const auto gate = [&](float a, float b) {
    std::fill_n(sums.data(), half, a);
    std::fill_n(sums.data() + half, half, b);
    kernels.gate(sums.data(), 1, out.data(), half);
    EXPECT_TRUE(std::isnan(out[0]) || std::count(out.begin(), out.end(), out[0]) == half);
    return out[0];
  };
  double worst = 0;
  for (double a = -12; a < 12; a += 0.0371) {
    for (double b = -20; b < 20; b += 0.173) {
      const auto fa = static_cast<float>(a), fb = static_cast<float>(b);
      const double expected = std::tanh(static_cast<double>(fa)) / (1 + std::exp(-static_cast<double>(fb)));
      worst = std::max(worst, std::abs(expected - gate(fa, fb)));
    }
  }
  EXPECT_LT(worst, 3e-7);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_NEAR(gate(kInfinity, kInfinity), 1, 3e-7);
  EXPECT_NEAR(gate(-kInfinity, kInfinity), -1, 3e-7);
  EXPECT_NEAR(gate(1e30f, -1e30f), 0, 3e-7);
  EXPECT_TRUE(std::isnan(gate(std::nanf(""), 1)));
  EXPECT_TRUE(std::isnan(gate(1, std::nanf(""))));
}

std::string name_of(const ::testing::TestParamInfo<const TileKernels*>& of) {
  std::string name = of.param->name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Runnable, TileKernelsTest,
                         ::testing::ValuesIn(runnable_tile_kernels().begin(), runnable_tile_kernels().end()), name_of);

TEST(ThreadTeam, SharesCoverEverythingOnce) {
  ThreadTeam team(3);
  for (const auto& [panels, rows] : {std::pair{1, 1}, {1, 96}, {17, 96}, {5, 7}, {2, 0}, {0, 4}}) {
    std::vector<std::atomic<int>> seen(static_cast<size_t>(panels * rows));
    team.run([&](const ThreadTeam::Member& member) {
      member.share(panels, rows, 6, [&](int panel, int first, int last) {
        for (int r = first; r < last; ++r) ++seen[static_cast<size_t>(panel * rows + r)];
      });
    });
    for (const auto& count : seen) ASSERT_EQ(count, 1);
  }
}

TEST(ThreadTeam, NobodyPassesAMeetingBeforeAllHaveCome) {
  ThreadTeam team(3);
  std::atomic<int> count = 0;
  std::atomic<bool> wrong = false;
  for (int job = 0; job < 20; ++job) {
    count = 0;
    team.run([&](const ThreadTeam::Member& member) {
      for (int round = 1; round <= 50; ++round) {
        ++count;
        member.meet();
        if (count != round * member.size()) wrong = true;
        member.meet();
      }
    });
  }
  EXPECT_FALSE(wrong);
}

TEST(ThreadTeam, WhoFindsItBusyWorksAlone) {
  ThreadTeam team(2);
  int size = 0;
  team.run([&](const ThreadTeam::Member& member) {
    if (member.index() != 0) return;
    std::thread([&] { team.run([&](const ThreadTeam::Member& other) { size = other.size(); }); }).join();
  });
  EXPECT_EQ(size, 1);
}

}  // namespace
}  // namespace melflow::engine
