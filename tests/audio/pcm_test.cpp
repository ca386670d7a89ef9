#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "audio/sound_file.h"
#include "base/error.h"
#include "tests/audio/signals.h"
#include "tests/support/refusal.h"

namespace melflow::audio {
namespace {

std::vector<int> bytes_as_numbers(const std::vector<std::byte>& bytes) {
  std::vector<int> numbers;
  for (const std::byte byte : bytes) numbers.push_back(std::to_integer<int>(byte));
  return numbers;
}

TEST(Pcm, RoundsToNearestAndClampsInsteadOfWrapping) {
  const float lsb = 1.0f / 32768.0f;
  const std::vector<float> samples = {0.0f, 0.4f * lsb, 0.6f * lsb, -0.6f * lsb, 1.0f,
                                      2.0f, -1.0f,      -2.0f,      1e30f,       -1e30f};
  const std::vector<int> expected = {0, 0, 1, -1, 32767, 32767, -32768, -32768, 32767, -32768};
  const auto bytes = encode_pcm(samples, Encoding::pcm16);
  ASSERT_EQ(bytes.size(), 2 * samples.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const int low = std::to_integer<int>(bytes[2 * i]), high = std::to_integer<int>(bytes[2 * i + 1]);
    EXPECT_EQ(static_cast<int16_t>(low | high << 8), expected[i]) << samples[i];
  }
  EXPECT_EQ(bytes_as_numbers(encode_pcm(std::vector<float>{1.0f, -1.0f, 0x1p-23f}, Encoding::pcm24)),
            (std::vector<int>{255, 255, 127, 0, 0, 128, 1, 0, 0}));
  EXPECT_EQ(bytes_as_numbers(encode_pcm(std::vector<float>{1.0f}, Encoding::float32)),
            (std::vector<int>{0, 0, 128, 63}));
}

TEST(Pcm, ComesBackWithinHalfAStep) {
  const auto samples = melflow::testing::noise(10000, 0.999);
  for (const auto& [encoding, half_step] : std::vector<std::pair<Encoding, double>>{
           {Encoding::pcm16, 0.5 / 32768}, {Encoding::pcm24, 0.5 / 8388608}, {Encoding::float32, 0.0}}) {
    const auto back = decode_pcm(encode_pcm(samples, encoding), encoding);
    ASSERT_EQ(back.size(), samples.size());
    for (size_t i = 0; i < samples.size(); ++i)
      ASSERT_LE(std::abs(static_cast<double>(back[i]) - samples[i]), half_step);
  }
}

TEST(Pcm, SixteenBitsComeBackAsTheyWere) {
  std::vector<float> samples{2.0f, -2.0f, 0.4f / 32768, 0.6f / 32768};
  std::vector<int16_t> expected{32767, -32768, 0, 1};
  for (int number = -32768; number <= 32767; number += 97) {
    samples.push_back(static_cast<float>(number) / 32768);
    expected.push_back(static_cast<int16_t>(number));
  }
  EXPECT_EQ(to_int16(samples), expected);
}

TEST(Pcm, RefusesWhatIsNoNumber) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    for (const Encoding encoding : {Encoding::pcm16, Encoding::pcm24, Encoding::float32}) {
      EXPECT_THROW(encode_pcm(std::vector<float>{0.0f, bad}, encoding), Error);
    }
  }
}

TEST(Pcm, RefusesHalfASample) {
  EXPECT_THROW(decode_pcm(std::vector<std::byte>(3), Encoding::pcm16), Error);
  EXPECT_THROW(decode_pcm(std::vector<std::byte>(4), Encoding::pcm24), Error);
  EXPECT_THROW(decode_pcm(std::vector<std::byte>(5), Encoding::float32), Error);
  EXPECT_TRUE(decode_pcm({}, Encoding::pcm16).empty());
}

TEST(Pcm, EncodingsAreKnownByName) {
  EXPECT_EQ(encoding_from_name("pcm16"), Encoding::pcm16);
  EXPECT_EQ(encoding_from_name("pcm24"), Encoding::pcm24);
  EXPECT_EQ(encoding_from_name("float32"), Encoding::float32);
  testing::expect_refused([] { encoding_from_name("float"); }, Exit::usage, "did you mean 'float32'");
}

TEST(WavHeader, HasTheCanonicalBytes) {
  const auto header = bytes_as_numbers(wav_header(22050, Encoding::pcm16, 1000));
  const std::vector<int> expected = {'R', 'I', 'F', 'F', 0xf4, 7, 0,   0,   'W', 'A',  'V',  'E', 'f', 'm',  't',
                                     ' ', 16,  0,   0,   0,    1, 0,   1,   0,   0x22, 0x56, 0,   0,   0x44, 0xac,
                                     0,   0,   2,   0,   16,   0, 'd', 'a', 't', 'a',  0xd0, 7,   0,   0};
  EXPECT_EQ(header, expected);
}

TEST(WavHeader, CountsBytesOfEveryEncoding) {
  for (const auto encoding : {Encoding::pcm16, Encoding::pcm24, Encoding::float32}) {
    const auto header = wav_header(22050, encoding, 1000);
    const auto width = static_cast<uint32_t>(bytes_per_sample(encoding));
    uint32_t bytes_a_second = 0;
    uint16_t bytes_a_frame = 0, bits = 0;
    std::memcpy(&bytes_a_second, &header[28], sizeof bytes_a_second);
    std::memcpy(&bytes_a_frame, &header[32], sizeof bytes_a_frame);
    std::memcpy(&bits, &header[34], sizeof bits);
    EXPECT_EQ(bytes_a_second, 22050 * width);
    EXPECT_EQ(bytes_a_frame, width);
    EXPECT_EQ(bits, 8 * width);
  }
}

TEST(WavHeader, OfAnEndlessStreamHoldsTheLargestLength) {
  const auto header = bytes_as_numbers(wav_header(22050, Encoding::float32, -1));
  ASSERT_EQ(header.size(), 44u);
  for (const size_t at : {4u, 5u, 6u, 7u, 40u, 41u, 42u, 43u}) EXPECT_EQ(header[at], 255);
  EXPECT_EQ(header[20], 3);  // IEEE float
}

TEST(WavHeader, RefusesWhatFourGigabytesCannotHold) {
  EXPECT_NO_THROW(wav_header(22050, Encoding::pcm16, 2147483600));
  EXPECT_THROW(wav_header(22050, Encoding::pcm16, 2147483640), Error);
  EXPECT_THROW(wav_header(22050, Encoding::float32, std::numeric_limits<int64_t>::max()), Error);
}

}  // namespace
}  // namespace melflow::audio
