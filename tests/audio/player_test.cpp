#include "audio/player.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "audio/error.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

/// A machine with one sound device, on which nothing is heard: ALSA's null, by a configuration of the test's own.
class NullDevice {
 public:
  NullDevice() {
    std::ofstream(dir_ / "asound.conf") << "pcm.!default { type null }\nctl.!default { type null }\n";
    ::setenv("ALSA_CONFIG_PATH", (dir_ / "asound.conf").c_str(), 1);
  }
  ~NullDevice() { ::unsetenv("ALSA_CONFIG_PATH"); }
  NullDevice(const NullDevice&) = delete;
  NullDevice& operator=(const NullDevice&) = delete;

 private:
  melflow::testing::TempDir dir_;
};

TEST(Player, PlaysEverySampleToTheEnd) {
  const NullDevice device;
  if (list_devices().empty()) GTEST_SKIP() << "PortAudio has no ALSA here";
  Player player({.prebuffer_seconds = 0.05, .buffer_seconds = 0.2});
  const std::vector<float> sound(30000, 0.1f);
  player.push(sound);
  player.finish();
  EXPECT_EQ(player.position(), sound.size());
  EXPECT_GE(player.latency_seconds(), 0.0);
}

TEST(Player, StopsAtOnce) {
  const NullDevice device;
  if (list_devices().empty()) GTEST_SKIP() << "PortAudio has no ALSA here";
  // The prebuffer never fills, so nothing may have been played.
  Player player({.prebuffer_seconds = 10.0, .buffer_seconds = 20.0});
  player.push(std::vector<float>(22050, 0.1f));
  player.stop();
  EXPECT_EQ(player.position(), 0u);
}

TEST(Player, ListsDevicesTwiceTheSame) {
  const auto first = list_devices(), second = list_devices();
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_FALSE(first[i].name.empty());
    EXPECT_GE(first[i].channels, 1);
    EXPECT_EQ(first[i].name, second[i].name);
  }
}

TEST(Player, KeepsStandardErrorQuietAndWorking) {
  ::testing::internal::CaptureStderr();
  list_devices();
  std::fputs("still here", stderr);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "still here");
}

TEST(Player, RefusesADeviceThatDoesNotExist) {
  try {
    Player player({.device = "no such device, surely"});
    FAIL() << "opened it";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::unavailable);
    EXPECT_NE(std::string(error.what()).find("no sound device"), std::string::npos) << error.what();
  }
}

TEST(Player, SaysWhatToDoWithoutADevice) {
  if (!list_devices().empty()) GTEST_SKIP() << "this machine has a sound device";
  try {
    Player player({});
    FAIL() << "opened one";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::unavailable);
    EXPECT_NE(std::string(error.what()).find("melflow synth"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace melflow::audio
