#include "audio/sound_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>

#include "base/error.h"
#include "tests/audio/reference_files.h"
#include "tests/audio/signals.h"
#include "tests/audio/wav_bytes.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::in_tree;
using melflow::testing::noise;
using melflow::testing::Refusal;
using melflow::testing::refusal;
using melflow::testing::TempDir;
using melflow::testing::wav_bytes;
using melflow::testing::write_bytes;

constexpr auto kRefuse = AtomicFile::Existing::refuse;

TEST(Wav, ReadsTheGoldenClip) {
  const auto path = in_tree("data/golden/LJ001-0002.wav");
  const Waveform clip = read_audio(path);
  const auto bytes = melflow::testing::read_bytes(path);
  EXPECT_EQ(clip.sample_rate, 22050);
  ASSERT_EQ(clip.samples.size(), (bytes.size() - 44) / 2);
  for (size_t i = 0; i < clip.samples.size(); ++i) {
    ASSERT_EQ(clip.samples[i], melflow::testing::number_at<int16_t>(bytes, 44 + 2 * i) / 32768.0f);
  }
  const AudioInfo info = audio_info(path);
  EXPECT_EQ(info.sample_rate, 22050);
  EXPECT_EQ(info.channels, 1);
  EXPECT_EQ(info.frames, static_cast<int64_t>(clip.samples.size()));
  EXPECT_NE(info.format.find("WAV"), std::string::npos) << info.format;
  EXPECT_NE(info.format.find("16"), std::string::npos) << info.format;
}

TEST(Wav, ComesBackWithinHalfAStepInEveryFormat) {
  const TempDir dir;
  const Waveform sound{noise(12345, 0.99), 22050};
  struct Case {
    const char* name;
    Encoding encoding;
    double half_step;
  };
  for (const Case& c : {Case{"a.wav", Encoding::pcm16, 0.5 / 32768}, Case{"b.wav", Encoding::pcm24, 0.5 / 8388608},
                        Case{"c.WAV", Encoding::float32, 0.0}, Case{"d.flac", Encoding::pcm16, 0.5 / 32768},
                        Case{"e.flac", Encoding::pcm24, 0.5 / 8388608}}) {
    write_audio(dir / c.name, sound, c.encoding, kRefuse);
    const Waveform back = read_audio(dir / c.name);
    EXPECT_EQ(back.sample_rate, 22050);
    ASSERT_EQ(back.samples.size(), sound.samples.size()) << c.name;
    for (size_t i = 0; i < back.samples.size(); ++i) {
      ASSERT_LE(std::abs(static_cast<double>(back.samples[i]) - sound.samples[i]), c.half_step) << c.name;
    }
  }
  for (const char* name : {"f.raw", "g.pcm"}) {
    write_audio(dir / name, sound, Encoding::float32, kRefuse);
    const auto bytes = melflow::testing::read_bytes(dir / name);
    EXPECT_EQ(decode_pcm(std::as_bytes(std::span(bytes)), Encoding::float32), sound.samples);
  }
}

TEST(Wav, OfAnOddNumberOfBytesIsPaddedToAnEvenOne) {
  const TempDir dir;
  write_audio(dir / "odd.wav", {{0.1f, 0.2f, 0.3f}, 22050}, Encoding::pcm24, kRefuse);
  const auto bytes = melflow::testing::read_bytes(dir / "odd.wav");
  ASSERT_EQ(bytes.size(), 44u + 9u + 1u);
  EXPECT_EQ(melflow::testing::number_at<uint32_t>(bytes, 4), bytes.size() - 8);
  EXPECT_EQ(read_audio(dir / "odd.wav").samples.size(), 3u);
}

TEST(Wav, LoudSamplesAreClampedInFlacToo) {
  const TempDir dir;
  write_audio(dir / "loud.flac", {{1.5f, -1.5f, 0.0f}, 22050}, Encoding::pcm16, kRefuse);
  EXPECT_EQ(read_audio(dir / "loud.flac").samples, (std::vector<float>{32767 / 32768.0f, -1.0f, 0.0f}));
}

TEST(Wav, WritesNothingWhereItCannotWriteAll) {
  const TempDir dir;
  EXPECT_THROW(write_audio(dir / "nan.wav", {{0.0f, NAN}, 22050}, Encoding::pcm16, kRefuse), Error);
  EXPECT_THROW(write_audio(dir / "nan.flac", {{0.0f, NAN}, 22050}, Encoding::pcm16, kRefuse), Error);
  EXPECT_THROW(write_audio(dir / "x.mp3", {{0.0f}, 22050}, Encoding::pcm16, kRefuse), Error);
  EXPECT_THROW(write_audio(dir / "x", {{0.0f}, 22050}, Encoding::pcm16, kRefuse), Error);
  EXPECT_THROW(write_audio(dir / "x.flac", {{0.0f}, 22050}, Encoding::float32, kRefuse), Error);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Wav, DoesNotOverwriteUnlessTold) {
  const TempDir dir;
  write_audio(dir / "a.wav", {{0.25f}, 22050}, Encoding::pcm16, kRefuse);
  EXPECT_THROW(write_audio(dir / "a.wav", {{0.5f}, 22050}, Encoding::pcm16, kRefuse), Error);
  EXPECT_EQ(read_audio(dir / "a.wav").samples, std::vector<float>{0.25f});
  write_audio(dir / "a.wav", {{0.5f}, 22050}, Encoding::pcm16, AtomicFile::Existing::replace);
  EXPECT_EQ(read_audio(dir / "a.wav").samples, std::vector<float>{0.5f});
}

TEST(Wav, AveragesChannels) {
  const TempDir dir;
  write_bytes(dir / "stereo.wav", wav_bytes(22050, 2, {16384, 0, -32768, -32768, 1, 2}));
  EXPECT_EQ(read_audio(dir / "stereo.wav").samples, (std::vector<float>{0.25f, -1.0f, 1.5f / 32768}));
  std::vector<int16_t> eight(8 * 1000);
  for (size_t i = 0; i < eight.size(); ++i) eight[i] = static_cast<int16_t>(i % 8 == 3 ? 8000 : 0);
  write_bytes(dir / "eight.wav", wav_bytes(192000, 8, eight));
  const Waveform sound = read_audio(dir / "eight.wav");
  EXPECT_EQ(sound.sample_rate, 192000);
  EXPECT_EQ(sound.samples, std::vector<float>(1000, 1000.0f / 32768));
}

TEST(Wav, ResamplesAndRelabels) {
  const TempDir dir;
  write_audio(dir / "a.wav", {noise(48000), 48000}, Encoding::pcm16, kRefuse);
  const Waveform resampled = read_audio(dir / "a.wav", {.sample_rate = 22050});
  EXPECT_EQ(resampled.sample_rate, 22050);
  EXPECT_EQ(resampled.samples.size(), 22050u);
  const Waveform relabelled = read_audio(dir / "a.wav", {.assume_rate = 22050});
  EXPECT_EQ(relabelled.sample_rate, 22050);
  EXPECT_EQ(relabelled.samples.size(), 48000u);
  const Waveform both = read_audio(dir / "a.wav", {.sample_rate = 22050, .assume_rate = 44100});
  EXPECT_EQ(both.samples.size(), 24000u);
}

TEST(Wav, ReadsASingleSample) {
  const TempDir dir;
  write_audio(dir / "one.wav", {{0.5f}, 22050}, Encoding::pcm16, kRefuse);
  EXPECT_EQ(read_audio(dir / "one.wav").samples, std::vector<float>{0.5f});
}

TEST(Wav, RefusesWhatIsNotThereOrNoFile) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo((dir / "pipe.wav").c_str(), 0600), 0);
  for (const auto& path : {dir / "missing.wav", dir.path(), dir / "pipe.wav", std::filesystem::path("/dev/zero")}) {
    const Refusal refused = refusal(path);
    EXPECT_EQ(refused.code, Exit::no_input) << path;
    EXPECT_TRUE(refused.message.starts_with(path.string())) << refused.message;
  }
}

TEST(Wav, RefusesEmptyTextAndSoundlessFiles) {
  const TempDir dir;
  write_bytes(dir / "empty.wav", {});
  write_bytes(dir / "text.wav", {'h', 'e', 'l', 'l', 'o'});
  write_bytes(dir / "soundless.wav", wav_bytes(22050, 1, {}));
  for (const char* name : {"empty.wav", "text.wav", "soundless.wav"}) {
    const Refusal refused = refusal(dir / name);
    EXPECT_EQ(refused.code, Exit::bad_data) << name;
    EXPECT_EQ(refused.message.find('\n'), std::string::npos) << refused.message;
  }
}

TEST(Wav, NamesTheFirstSampleThatIsNoNumber) {
  const TempDir dir;
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    std::vector<float> samples(3000, 0.1f);
    samples[1234] = samples[2000] = bad;
    const auto header = wav_header(22050, Encoding::float32, static_cast<int64_t>(samples.size()));
    std::vector<char> bytes(header.size() + samples.size() * sizeof(float));
    std::memcpy(bytes.data(), header.data(), header.size());
    std::memcpy(bytes.data() + header.size(), samples.data(), samples.size() * sizeof(float));
    write_bytes(dir / "bad.wav", bytes);
    const Refusal refused = refusal(dir / "bad.wav");
    EXPECT_EQ(refused.code, Exit::bad_data);
    EXPECT_NE(refused.message.find("sample 1234 "), std::string::npos) << refused.message;
  }
}

/// Every way to cut the golden clip's head short, and every byte of its header set to something else.
TEST(Wav, SurvivesEveryDamageToItsHeader) {
  const TempDir dir;
  auto bytes = melflow::testing::read_bytes(in_tree("data/golden/LJ001-0002.wav"));
  bytes.resize(2000);
  const auto path = dir / "damaged.wav";
  int refused = 0;
  for (size_t length = 0; length < 60; ++length) {
    write_bytes(path, {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)});
    refused += refusal(path).code != Exit::ok;
  }
  EXPECT_GE(refused, 44);
  for (size_t at = 0; at < 44; ++at) {
    for (const int value : {0, 1, 0x7f, 0x80, 0xff}) {
      auto damaged = bytes;
      damaged[at] = static_cast<char>(value);
      write_bytes(path, damaged);
      const Refusal result = refusal(path, {.sample_rate = 22050});
      EXPECT_TRUE(result.code == Exit::ok || result.code == Exit::bad_data) << at << ": " << result.message;
    }
  }
}

TEST(Wav, LongerThanAllowedIsRefused) {
  const TempDir dir;
  write_audio(dir / "a.wav", {noise(1000), 22050}, Encoding::pcm16, kRefuse);
  EXPECT_EQ(refusal(dir / "a.wav", {.max_frames = 1000}).code, Exit::ok);
  EXPECT_EQ(refusal(dir / "a.wav", {.max_frames = 999}).code, Exit::bad_data);
}

TEST(Wav, LongerThanAllowedIsFoundWhereNoHeaderSaysSo) {
  const TempDir dir;
  write_audio(dir / "a.flac", {noise(1000), 22050}, Encoding::pcm16, kRefuse);
  auto streamed = melflow::testing::read_bytes(dir / "a.flac");
  streamed[21] = static_cast<char>(streamed[21] & 0xf0);  // STREAMINFO: the number of samples, 36 bits, is not known
  std::fill_n(streamed.begin() + 22, 4, '\0');
  write_bytes(dir / "streamed.flac", streamed);
  EXPECT_EQ(read_audio(dir / "streamed.flac", {.max_frames = 1000}).samples.size(), 1000u);
  EXPECT_EQ(refusal(dir / "streamed.flac", {.max_frames = 999}).code, Exit::bad_data);
  // Nor where a higher rate makes more of it.
  EXPECT_EQ(refusal(dir / "a.flac", {.sample_rate = 44100, .max_frames = 2000}).code, Exit::ok);
  EXPECT_EQ(refusal(dir / "a.flac", {.sample_rate = 44100, .max_frames = 1999}).code, Exit::bad_data);
}

TEST(Wav, RatesTooFarApartAreRefusedNotFilledIn) {
  const TempDir dir;
  write_bytes(dir / "slow.wav", wav_bytes(1, 1, std::vector<int16_t>(1000, 100)));
  EXPECT_EQ(refusal(dir / "slow.wav", {.sample_rate = 22050}).code, Exit::bad_data);
  EXPECT_EQ(refusal(dir / "slow.wav").code, Exit::ok);
}

TEST(Wav, ReadsAnHourOfSilence) {
  const TempDir dir;
  constexpr size_t kHour = size_t{3600} * 8000;
  write_audio(dir / "hour.flac", {std::vector<float>(kHour, 0.0f), 8000}, Encoding::pcm16, kRefuse);
  EXPECT_LT(std::filesystem::file_size(dir / "hour.flac"), 1000000u);
  const Waveform hour = read_audio(dir / "hour.flac");
  EXPECT_EQ(hour.samples.size(), kHour);
  EXPECT_EQ(hour.seconds(), 3600.0);
}

}  // namespace
}  // namespace melflow::audio
