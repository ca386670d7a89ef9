#include "audio/resample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/audio/signals.h"

namespace melflow::audio {
namespace {

using melflow::testing::sine;

TEST(Resample, KeepsFrequencyLevelAndTimeOfASine) {
  for (const auto& [from, to] : std::vector<std::pair<int, int>>{
           {48000, 22050}, {16000, 22050}, {44100, 48000}, {192000, 16000}, {22050, 22051}}) {
    const auto in = sine(1000.0, from, static_cast<size_t>(from));
    const auto out = resample(in, from, to);
    ASSERT_EQ(out.size(), static_cast<size_t>(to));
    const auto expected = sine(1000.0, to, out.size());
    // The filter rings at both ends.
    for (size_t t = out.size() / 10; t < out.size() * 9 / 10; ++t)
      ASSERT_NEAR(out[t], expected[t], 1e-5) << from << " " << to;
  }
}

TEST(Resample, RemovesWhatTheNewRateCannotHold) {
  const auto out = resample(sine(10000.0, 48000, 48000), 48000, 16000);
  for (size_t t = 1600; t < 14400; ++t) ASSERT_NEAR(out[t], 0.0, 1e-5);
}

TEST(Resample, RoundsTheLength) {
  for (const size_t length : {1u, 2u, 3u, 1000u, 1001u}) {
    EXPECT_EQ(resample(std::vector<float>(length, 0.1f), 48000, 22050).size(),
              static_cast<size_t>(std::llround(static_cast<double>(length) * 22050 / 48000)));
    EXPECT_EQ(resample(std::vector<float>(length, 0.1f), 8000, 22050).size(),
              static_cast<size_t>(std::llround(static_cast<double>(length) * 22050 / 8000)));
  }
  EXPECT_TRUE(resample({}, 48000, 22050).empty());
}

TEST(Resample, ToTheSameRateIsACopy) {
  const auto in = melflow::testing::noise(1000);
  EXPECT_EQ(resample(in, 22050, 22050), in);
}

TEST(StreamResampler, GivesWhatResampleGivesHoweverItIsCut) {
  for (const auto& [from, to] : std::vector<std::pair<int, int>>{{22050, 48000}, {48000, 22050}, {44100, 22050}}) {
    const auto in = melflow::testing::noise(30000);
    const auto whole = resample(in, from, to);
    std::vector<float> first;
    for (const size_t cut : {30000u, 1u, 777u, 4096u}) {
      StreamResampler stream(from, to);
      std::vector<float> out;
      for (size_t at = 0; at < in.size(); at += cut) {
        stream.push(std::span(in).subspan(at, std::min(cut, in.size() - at)), out);
      }
      stream.finish(out);
      ASSERT_EQ(out.size(), whole.size()) << from << " " << to;
      for (size_t t = 0; t < out.size(); ++t) ASSERT_NEAR(out[t], whole[t], 1e-6) << from << " " << to << " at " << t;
      if (first.empty()) first = out;
      EXPECT_EQ(out, first) << cut;
    }
  }
}

TEST(StreamResampler, BeginsAgainAfterFinishAndReset) {
  const auto in = melflow::testing::noise(5000);
  StreamResampler stream(22050, 48000);
  std::vector<float> first, second, third;
  stream.push(in, first);
  stream.finish(first);
  stream.push(in, second);
  stream.finish(second);
  EXPECT_EQ(first, second);
  stream.push(std::span(in).first(100), third);
  stream.reset();
  third.clear();
  stream.push(in, third);
  stream.finish(third);
  EXPECT_EQ(first, third);
}

}  // namespace
}  // namespace melflow::audio
