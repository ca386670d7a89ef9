#include "audio/playback_core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

constexpr int kRate = 22050;
constexpr size_t kFade = kRate / 200;

std::vector<float> filled(PlaybackCore& core, size_t samples) {
  std::vector<float> out(samples, 99.0f);
  core.fill(out);
  return out;
}

TEST(PlaybackCore, WaitsForThePrebufferInSilence) {
  PlaybackCore core(kRate, 100, 1000);
  core.push(std::vector<float>(99, 0.5f));
  EXPECT_EQ(filled(core, 64), std::vector<float>(64, 0.0f));
  EXPECT_EQ(core.position(), 0u);
  core.push(std::vector<float>(1, 0.5f));
  EXPECT_EQ(filled(core, 64), std::vector<float>(64, 0.5f));
  EXPECT_EQ(core.position(), 64u);
  EXPECT_EQ(core.underruns(), 0u);
}

TEST(PlaybackCore, PlaysEverySampleUnchangedWhereNothingRunsOut) {
  PlaybackCore core(kRate, 10, 4096);
  const auto sound = melflow::testing::noise(4000);
  ASSERT_EQ(core.push(sound), sound.size());
  core.finish();
  std::vector<float> played;
  while (!core.done()) {
    const auto block = filled(core, 37);
    played.insert(played.end(), block.begin(), block.end());
  }
  ASSERT_GE(played.size(), sound.size());
  EXPECT_TRUE(std::equal(sound.begin(), sound.end(), played.begin()));
  EXPECT_EQ(core.position(), sound.size());
  EXPECT_EQ(core.underruns(), 0u);
}

TEST(PlaybackCore, ShortSoundsPlayThoughThePrebufferNeverFills) {
  PlaybackCore core(kRate, 1000, 4096);
  core.push(std::vector<float>(5, 0.25f));
  core.finish();
  const auto out = filled(core, 64);
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + 5), std::vector<float>(5, 0.25f));
  EXPECT_TRUE(core.done());
}

TEST(PlaybackCore, FadesAGapOutAndInAndCountsItOnce) {
  PlaybackCore core(kRate, 64, 4096);
  core.push(std::vector<float>(64, 0.8f));
  filled(core, 64);
  // The ring ran dry exactly at the end of a callback: still no gap.
  EXPECT_EQ(core.underruns(), 0u);
  std::vector<float> out;
  for (int block = 0; block < 20; ++block) {
    const auto more = filled(core, 64);
    out.insert(out.end(), more.begin(), more.end());
  }
  EXPECT_EQ(core.underruns(), 1u);
  // Falls from the last sample to silence within 5 ms, never by more than a step of the ramp.
  float before = 0.8f;
  for (const float sample : out) {
    ASSERT_LE(sample, before + 1e-6f);
    ASSERT_LE(before - sample, 0.8f / kFade + 1e-6f);
    before = sample;
  }
  EXPECT_EQ(out[kFade], 0.0f);
  EXPECT_EQ(out.back(), 0.0f);
  // Comes back the same way.
  core.push(std::vector<float>(1000, 0.8f));
  const auto back = filled(core, 500);
  EXPECT_NEAR(back[0], 0.0f, 0.8f / kFade + 1e-6f);
  for (size_t i = 1; i < back.size(); ++i) ASSERT_LE(std::abs(back[i] - back[i - 1]), 0.8f / kFade + 1e-6f);
  EXPECT_EQ(back[kFade + 1], 0.8f);
  EXPECT_EQ(core.underruns(), 1u);
}

TEST(PlaybackCore, StaysSilentAfterTheEnd) {
  PlaybackCore core(kRate, 1, 256);
  core.push(std::vector<float>(10, 0.5f));
  core.finish();
  filled(core, 512);
  EXPECT_TRUE(core.done());
  for (int block = 0; block < 3; ++block) EXPECT_EQ(filled(core, 64), std::vector<float>(64, 0.0f));
  EXPECT_EQ(core.underruns(), 0u);
  EXPECT_EQ(core.position(), 10u);
}

TEST(PlaybackCore, CountsTheSilenceOfGapsAndOfNothingElse) {
  PlaybackCore core(kRate, 64, 4096);
  filled(core, 640);  // nothing has begun: no gap
  core.push(std::vector<float>(100, 0.8f));
  filled(core, 64);
  filled(core, 64);  // 36 samples of sound, 28 of a gap
  filled(core, 128);
  EXPECT_EQ(core.underruns(), 1u);
  EXPECT_EQ(core.gap_samples(), 28u + 128u);
  core.push(std::vector<float>(100, 0.8f));
  core.finish();
  filled(core, 64);
  filled(core, 64);
  filled(core, 64);  // the end is no gap
  EXPECT_TRUE(core.done());
  EXPECT_EQ(core.underruns(), 1u);
  EXPECT_EQ(core.gap_samples(), 28u + 128u);
}

TEST(PlaybackCore, PauseFadesLosesNothingAndIsNoUnderrun) {
  PlaybackCore core(kRate, 1, 4096);
  core.push(std::vector<float>(1000, 0.8f));
  filled(core, 100);
  core.pause(true);
  const auto silent = filled(core, 400);
  EXPECT_EQ(silent[0], 0.8f);
  for (size_t i = 1; i < silent.size(); ++i) ASSERT_LE(silent[i - 1] - silent[i], 0.8f / kFade + 1e-6f);
  EXPECT_EQ(silent.back(), 0.0f);
  EXPECT_EQ(core.position(), 100u);
  core.pause(false);
  const auto back = filled(core, 400);
  EXPECT_EQ(back[0], 0.0f);
  for (size_t i = 1; i < back.size(); ++i) ASSERT_LE(std::abs(back[i] - back[i - 1]), 0.8f / kFade + 1e-6f);
  EXPECT_EQ(back.back(), 0.8f);
  EXPECT_EQ(core.position(), 500u);
  EXPECT_EQ(core.underruns(), 0u);
  EXPECT_EQ(core.gap_samples(), 0u);
}

TEST(PlaybackCore, AJumpForgetsWhatWaitsEvenAfterTheEndWasAnnounced) {
  PlaybackCore core(kRate, 1, 4096);
  core.push(std::vector<float>(1000, 0.5f));
  core.finish();
  filled(core, 100);
  core.drop();
  EXPECT_EQ(core.waiting(), 0u);
  core.push(std::vector<float>(600, -0.5f));
  EXPECT_EQ(core.waiting(), 600u);
  const auto out = filled(core, 256);
  EXPECT_FALSE(core.done());
  // What was being heard fades; nothing of what waited is heard.
  EXPECT_EQ(out[0], 0.5f);
  EXPECT_EQ(out[kFade], 0.0f);
  auto rest = filled(core, 600);
  EXPECT_EQ(rest[kFade], -0.5f);
  EXPECT_EQ(core.underruns(), 0u);
  core.finish();
  while (!core.done()) filled(core, 64);
  EXPECT_EQ(core.position(), 700u);
  EXPECT_EQ(core.underruns(), 0u);
}

TEST(PlaybackCore, WhoJumpsOutOfAGapWaitsAndHasNoGap) {
  PlaybackCore core(kRate, 64, 4096);
  core.push(std::vector<float>(64, 0.8f));
  filled(core, 64);
  filled(core, 64);
  EXPECT_EQ(core.gap_samples(), 64u);
  core.drop();
  filled(core, 640);
  EXPECT_EQ(core.gap_samples(), 64u);
  EXPECT_EQ(core.underruns(), 1u);
}

TEST(PlaybackCore, TheEndIsKnownWithTheLastSample) {
  PlaybackCore core(kRate, 1, 256);
  core.push(std::vector<float>(64, 0.5f));
  core.finish();
  EXPECT_FALSE(core.done());
  filled(core, 64);
  EXPECT_TRUE(core.done());
}

// The producer is slower than the device now and then; nothing may be lost, doubled or reordered.
TEST(PlaybackCore, LosesNothingBetweenTwoThreads) {
  const char* soak = std::getenv("MELFLOW_SOAK");
  const size_t total = soak != nullptr ? std::stoull(soak) : 60'000;
  PlaybackCore core(kRate, 256, 2048);
  std::thread producer([&] {
    std::vector<float> piece(333, 1.0f);
    for (size_t sent = 0; sent < total;) {
      const size_t taken = core.push({piece.data(), std::min(piece.size(), total - sent)});
      sent += taken;
      if (taken == 0) std::this_thread::yield();
    }
    core.finish();
  });
  std::vector<float> block(128);
  bool within = true;
  while (!core.done()) {
    core.fill(block);
    within = within && std::ranges::all_of(block, [](float sample) { return sample >= 0.0f && sample <= 1.0f; });
    std::this_thread::yield();
  }
  producer.join();
  EXPECT_EQ(core.position(), total);
  EXPECT_TRUE(within);
}

}  // namespace
}  // namespace melflow::audio
