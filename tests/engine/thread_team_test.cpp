#include "engine/kernels/thread_team.h"

#include <array>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace melflow::engine {
namespace {

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

TEST(ThreadTeam, BothAreDoneAndWhatOneThrowsIsThrown) {
  for (const int threads : {1, 2, 3}) {
    ThreadTeam team(threads);
    for (const int throwing : {-1, 0, 1}) {
      std::array<std::atomic<int>, 2> done{};
      const auto work = [&](int which) {
        return [&, which] {
          ++done[static_cast<size_t>(which)];
          if (which == throwing) throw std::runtime_error("it");
        };
      };
      if (throwing < 0) {
        team.both(work(0), work(1));
      } else {
        EXPECT_THROW(team.both(work(0), work(1)), std::runtime_error);
      }
      EXPECT_EQ(done[0], 1);
      EXPECT_EQ(done[1], 1);
    }
  }
}

}  // namespace
}  // namespace melflow::engine
