// Files whose header promises more or less than they hold.
#include "audio/sound_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tests/audio/reference_files.h"
#include "tests/audio/signals.h"
#include "tests/audio/wav_bytes.h"
#include "tests/support/shared.h"

namespace melflow::audio {
namespace {

using melflow::testing::refusal;
using melflow::testing::TempDir;
using melflow::testing::wav_bytes;
using melflow::testing::write_bytes;

/// A thousand samples under a header by its book.
std::vector<char> whole() { return wav_bytes(22050, 1, std::vector<int16_t>(1000, 100)); }

class SoundBytesTest : public ::testing::Test {
 protected:
  /// What is said of a file of these bytes.
  std::string said(const std::vector<char>& bytes) {
    write_bytes(file(), bytes);
    const auto [code, message] = refusal(file());
    EXPECT_EQ(code, Exit::bad_data);
    return message;
  }
  size_t samples(const std::vector<char>& bytes) {
    write_bytes(file(), bytes);
    return read_audio(file()).samples.size();
  }
  std::filesystem::path file() const { return folder_ / "sound"; }

 private:
  TempDir folder_;
};

TEST_F(SoundBytesTest, OfAFileThatIsCutShortItIsSaidHowMuchIsThere) {
  auto cut = whole();
  cut.resize(44 + 2 * 300);
  EXPECT_NE(said(cut).find("300 of 1000 samples"), std::string::npos);
}

TEST_F(SoundBytesTest, WhatLiesBeforeTheSoundIsNoPartOfIt) {
  auto bytes = whole();  // with more there than is cut off below
  std::vector<char> junk(8 + 4000, 0);
  std::memcpy(junk.data(), "JUNK\xa0\x0f\0\0", 8);
  bytes.insert(bytes.begin() + 36, junk.begin(), junk.end());
  EXPECT_EQ(samples(bytes), 1000u);
  bytes.resize(bytes.size() - 2 * 900);
  EXPECT_NE(said(bytes).find("100 of 1000 samples"), std::string::npos);
}

TEST_F(SoundBytesTest, ARecorderThatWasInterruptedHasFilledInNothing) {
  auto bytes = whole();
  for (const size_t at : {40u, 4u}) {  // of the sound, then of the file, too
    std::fill_n(bytes.begin() + at, 4, '\0');
    EXPECT_NE(said(bytes).find("2000 bytes follow"), std::string::npos) << at;
  }
}

// Its length stands in a chunk of its own.
TEST_F(SoundBytesTest, AnInterruptedRecorderOfRf64HasFilledInNothing) {
  auto bytes = whole();
  std::memcpy(bytes.data(), "RF64\xff\xff\xff\xff", 8);
  std::fill_n(bytes.begin() + 40, 4, '\xff');
  std::vector<char> lengths(8 + 28, 0);
  std::memcpy(lengths.data(), "ds64\x1c", 5);
  bytes.insert(bytes.begin() + 12, lengths.begin(), lengths.end());
  EXPECT_NE(said(bytes).find("2000 bytes follow"), std::string::npos);
}

TEST_F(SoundBytesTest, AHeaderThatCountsItselfPromisesNothing) {
  auto bytes = whole();
  bytes[40] = static_cast<char>(static_cast<unsigned char>(bytes[40]) + 44);
  EXPECT_EQ(samples(bytes), 1000u);
}

TEST_F(SoundBytesTest, WhoWritesIntoAPipePutsTheLargestLength) {
  auto bytes = whole();
  bytes.resize(44 + 2 * 300);
  std::fill_n(bytes.begin() + 40, 4, '\xff');
  EXPECT_EQ(samples(bytes), 300u);
}

TEST_F(SoundBytesTest, AFlacThatIsCutShortSaysSo) {
  const TempDir folder;
  const auto whole = folder / "whole.flac";
  write_audio(whole, {melflow::testing::noise(20000), 22050}, Encoding::pcm16, AtomicFile::Existing::refuse);
  EXPECT_EQ(read_audio(whole).samples.size(), 20000u);
  auto flac = melflow::testing::read_bytes(whole);
  flac.resize(flac.size() / 2);
  EXPECT_NE(said(flac).find("of 20000 samples"), std::string::npos);
}

}  // namespace
}  // namespace melflow::audio
