#include "audio/player.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "audio/portaudio_io.h"
#include "audio/resample.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/audio/alsa_config.h"
#include "tests/audio/signals.h"
#include "tests/support/refusal.h"

namespace melflow::audio {
namespace {

using melflow::testing::AlsaConfig;
using melflow::testing::expect_refused;
using melflow::testing::noise;

std::vector<float> floats_in(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  return decode_pcm(std::as_bytes(std::span(bytes)).first(bytes.size() / 4 * 4), Encoding::float32);
}

/// What was played, without the silence before and after it.
std::vector<float> heard_in(const std::filesystem::path& path, size_t samples) {
  const auto all = floats_in(path);
  const auto begin = std::ranges::find_if(all, [](float s) { return s != 0.0f; });
  return {begin, begin + std::min<ptrdiff_t>(static_cast<ptrdiff_t>(samples), all.end() - begin)};
}

class ClockedPlayer : public ::testing::Test {
 protected:
  std::string device(const std::string& clock = "clock") const { return clock + ":" + file().string(); }
  std::filesystem::path file() const { return folder_ / "heard.f32"; }
  melflow::testing::TempDir folder_;
};

TEST_F(ClockedPlayer, WhatIsHeardIsBitForBitWhatWasPushed) {
  const auto sound = noise(20000);
  {
    Player player({.device = device(), .prebuffer_seconds = 0.05, .buffer_seconds = 0.3});
    for (size_t at = 0; at < sound.size(); at += 777) {
      player.push(std::span(sound).subspan(at, std::min<size_t>(777, sound.size() - at)));
    }
    player.finish();
    EXPECT_EQ(player.position(), sound.size());
    EXPECT_EQ(player.underruns(), 0u);
  }
  EXPECT_EQ(heard_in(file(), sound.size()), sound);
}

TEST_F(ClockedPlayer, TakesTheTimeThatTheSoundTakes) {
  const auto begin = std::chrono::steady_clock::now();
  Player player({.device = device(), .prebuffer_seconds = 0.0});
  player.push(std::vector<float>(11025, 0.1f));
  player.finish();
  // Never faster than the clock, whatever the machine does.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(480));
}

TEST_F(ClockedPlayer, ADeviceOfAnotherRateGetsTheSoundConverted) {
  const auto sound = noise(15000);
  {
    Player player({.device = device("clock@48000"), .prebuffer_seconds = 0.05, .buffer_seconds = 0.3});
    EXPECT_EQ(player.device_rate(), 48000);
    player.push(sound);
    player.finish();
    EXPECT_EQ(player.position(), sound.size());
  }
  std::vector<float> expected;
  StreamResampler resampler(22050, 48000);
  resampler.push(sound, expected);
  resampler.finish(expected);
  EXPECT_EQ(expected.size(), 32653u);
  // The filter rings in from exact zeros or not; compare from the first sample that is heard.
  const auto first = std::ranges::find_if(expected, [](float s) { return s != 0.0f; });
  EXPECT_EQ(heard_in(file(), static_cast<size_t>(expected.end() - first)), std::vector<float>(first, expected.end()));
}

TEST_F(ClockedPlayer, AProducerAtHalfSpeedReportsExactlyTheGapsThatTheDeviceGot) {
  constexpr float kLevel = 0.5f;
  uint64_t underruns = 0;
  double gap_seconds = 0;
  {
    Player player({.device = device(), .prebuffer_seconds = 0.05, .buffer_seconds = 0.5});
    const std::vector<float> piece(441, kLevel);  // 20 ms
    for (int i = 0; i < 50; ++i) {
      if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(40));
      player.push(piece);
    }
    player.finish();
    underruns = player.underruns();
    gap_seconds = player.gap_seconds();
    EXPECT_EQ(player.position(), 50 * piece.size());
  }
  const auto all = floats_in(file());
  const auto first = std::ranges::find_if(all, [](float s) { return s != 0.0f; });
  const auto last = std::find_if(all.rbegin(), all.rend(), [](float s) { return s == kLevel; }).base();
  uint64_t gaps = 0, gap_samples = 0;
  for (auto at = first + 1; at < last; ++at) {
    if (*at == 0.0f && at[-1] != 0.0f) ++gaps;
    if (*at == 0.0f || *at < at[-1]) ++gap_samples;
  }
  EXPECT_GE(underruns, 5u);  // half speed is half speed
  EXPECT_EQ(underruns, gaps);
  EXPECT_EQ(static_cast<uint64_t>(gap_seconds * 22050 + 0.5), gap_samples);
}

TEST_F(ClockedPlayer, ADeviceThatGoesAwayIsOneErrorThatSaysSo) {
  std::signal(SIGPIPE, SIG_IGN);  // as the program does
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  const int reader = ::open(file().c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  Player player({.device = device(), .prebuffer_seconds = 0.0, .buffer_seconds = 0.1});
  player.push(std::vector<float>(1000, 0.1f));
  ::close(reader);
  expect_refused([&] { player.push(std::vector<float>(220500, 0.1f)); }, Exit::unavailable, "stopped taking sound");
}

TEST_F(ClockedPlayer, PauseLosesNothingAndIsNoGap) {
  const auto sound = std::vector<float>(22050, 0.25f);
  {
    Player player({.device = device(), .prebuffer_seconds = 0.02, .buffer_seconds = 2.0});
    player.push(sound);
    player.end();
    while (player.position() < 2000) player.check();
    player.pause(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    const auto place = player.position();
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    EXPECT_EQ(player.position(), place);
    player.pause(false);
    player.finish();
    EXPECT_EQ(player.position(), sound.size());
    EXPECT_EQ(player.underruns(), 0u);
    EXPECT_EQ(player.gap_seconds(), 0.0);
  }
  EXPECT_GE(std::ranges::count(floats_in(file()), 0.0f), 1000);
}

TEST_F(ClockedPlayer, AJumpDropsWhatWaits) {
  Player player({.device = device(), .prebuffer_seconds = 0.02, .buffer_seconds = 2.0});
  player.push(std::vector<float>(40000, 0.25f));
  player.end();
  player.drop();
  EXPECT_LT(player.queued_seconds(), 0.001);
  player.push(std::vector<float>(5000, -0.25f));
  player.finish();
  EXPECT_LT(player.position(), 40000u);
  const auto all = floats_in(file());
  EXPECT_GE(std::ranges::count(all, -0.25f), 5000 - 111);  // all but the fade
  EXPECT_EQ(player.underruns(), 0u);
}

TEST_F(ClockedPlayer, AJumpLeavesNothingInTheConverter) {
  const auto before = noise(60000), sound = melflow::testing::sine(220, 22050, 8000);
  std::vector<float> waiting, expected;
  StreamResampler resampler(22050, 48000);
  {
    Player player({.device = device("clock@48000"), .prebuffer_seconds = 0.05, .buffer_seconds = 0.3});
    player.pause(true);
    size_t taken = 0;
    while (const size_t more = player.offer(std::span(before).subspan(taken, 1024))) {
      resampler.push(std::span(before).subspan(taken, more), waiting);
      taken += more;
    }
    ASSERT_LT(taken, before.size());
    // What the ring has no room for waits, too.
    EXPECT_EQ(std::lround(player.queued_seconds() * 48000), static_cast<long>(waiting.size()));
    player.drop();
    player.pause(false);
    player.push(sound);
    player.finish();
  }
  resampler.reset();
  resampler.push(sound, expected);
  resampler.finish(expected);
  // The sound fades in, and nothing is heard before it.
  constexpr ptrdiff_t kFadeIn = 48000 / 200;
  const auto all = floats_in(file());
  const auto whole = std::search(all.begin(), all.end(), expected.begin() + kFadeIn, expected.end());
  ASSERT_NE(whole, all.end());
  const auto begin = std::ranges::find_if(all, [](float s) { return s != 0.0f; });
  EXPECT_LE(whole - begin, kFadeIn);
}

TEST_F(ClockedPlayer, NeverWritesOverAFile) {
  std::ofstream(file()) << "precious";
  expect_refused([&] { Player player({.device = device()}); }, Exit::cannot_create, file().string());
  EXPECT_EQ(std::filesystem::file_size(file()), 8u);
}

TEST(Player, AWrongClockSaysWhatARightOneIs) {
  for (const char* name : {"clock:", "clock@:x", "clock@fast:/tmp/x", "clock@48000", "clock@1:/tmp/x"}) {
    expect_refused([&] { Player player({.device = name}); }, Exit::usage, name, "clock@48000:FILE");
  }
}

// ALSA's own file plug-in behind PortAudio: what a driver gets, sample by sample.
TEST(Player, AlsaGetsBitForBitWhatWasPushed) {
  const melflow::testing::TempDir folder;
  const auto path = folder / "alsa.raw";
  const AlsaConfig config(melflow::testing::file_device(path.string()));
  const auto devices = list_devices();
  if (std::ranges::none_of(devices, [](const auto& d) { return d.name == "tofile"; })) {
    GTEST_SKIP() << "PortAudio has no ALSA here";
  }
  const auto sound = noise(22050);
  {
    // ALSA's null takes samples as fast as they come, so nothing is to be late: it begins when all are there.
    Player player({.device = "tofile", .prebuffer_seconds = 2.0, .buffer_seconds = 4.0});
    EXPECT_EQ(player.device_rate(), 22050);
    player.push(sound);
    player.finish();
    EXPECT_EQ(player.underruns(), 0u);
  }
  EXPECT_EQ(heard_in(path, sound.size()), sound);
}

TEST(Player, PlaysEverySampleToTheEnd) {
  const AlsaConfig config(melflow::testing::null_device());
  if (list_devices().empty()) GTEST_SKIP() << "PortAudio has no ALSA here";
  Player player({.prebuffer_seconds = 0.05, .buffer_seconds = 0.2});
  const std::vector<float> sound(30000, 0.1f);
  player.push(sound);
  player.finish();
  EXPECT_EQ(player.position(), sound.size());
}

TEST(Player, StopsAtOnce) {
  const AlsaConfig config(melflow::testing::null_device());
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
  expect_refused([] { Player player({.device = "no such device, surely"}); }, Exit::unavailable, "no sound device");
}

TEST(Player, SaysWhatToDoWithoutADevice) {
  if (!list_devices().empty()) GTEST_SKIP() << "this machine has a sound device";
  expect_refused([] { Player player({}); }, Exit::unavailable, "melflow synth");
}

}  // namespace
}  // namespace melflow::audio
