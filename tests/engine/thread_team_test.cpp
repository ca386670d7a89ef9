#include "engine/kernels/thread_team.h"

#include <atomic>
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

}  // namespace
}  // namespace melflow::engine
