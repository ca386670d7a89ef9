#include "engine/files/tfevents.h"
#include "engine/files/crc32c.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/files/bytes.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::bytes_of;
using testing::little_endian;
using testing::TempDir;

template <typename Number>
Number number_at(const std::string& text, size_t at) {
  Number value{};
  std::memcpy(&value, text.data() + at, sizeof value);
  return value;
}
uint32_t masked_crc(const std::string& text) {
  const uint32_t crc = crc32c(bytes_of(text));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}
/// The payloads of an event file, each of its checksums verified.
std::vector<std::string> payloads(const std::filesystem::path& path) {
  const std::string file = testing::contents(path);
  std::vector<std::string> found;
  for (size_t at = 0; at < file.size();) {
    const auto length = number_at<uint64_t>(file, at);
    EXPECT_EQ(number_at<uint32_t>(file, at + 8), masked_crc(file.substr(at, 8)));
    found.push_back(file.substr(at + 12, length));
    EXPECT_EQ(number_at<uint32_t>(file, at + 12 + length), masked_crc(found.back()));
    at += 16 + length;
  }
  return found;
}
/// A protocol buffer's fields by number: numbers as little-endian bytes, the rest as it stands.
std::map<uint64_t, std::string> fields(const std::string& message) {
  std::map<uint64_t, std::string> found;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    std::string& value = found[key >> 3];
    const size_t size = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : (key & 7) == 2 ? varint() : 0;
    value = (key & 7) == 0 ? little_endian(varint()) : message.substr(at, size);
    at += size;
  }
  return found;
}
std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    for (const int shift : {4, 0}) text += "0123456789abcdef"[(std::to_integer<int>(byte) >> shift) & 15];
  }
  return text;
}
std::map<uint64_t, std::string> value_of(const std::string& event) { return fields(fields(fields(event)[5])[1]); }

TEST(TfEvents, ChecksumsAreTheCastagnoliCrc) {
  // RFC 3720, B.4, and the check value of the catalogue
  EXPECT_EQ(crc32c(bytes_of("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\0'))), 0x8a9136aau);
  EXPECT_EQ(crc32c(bytes_of(std::string(32, '\xff'))), 0x62a8ab43u);
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  EXPECT_EQ(crc32c(bytes_of(rising)), 0x46dd794eu);
}

TEST(TfEvents, AScalarIsByteForByteTensorBoardsOwn) {
  // Event(wall_time=1.5, step=300, summary=Summary(value=[Value(tag="loss", simple_value=-6.25)])) serialised and
  // framed by tensorboard 2.21 (RecordWriter)
  EXPECT_EQ(hex(event_record(scalar_event(1.5, 300, "loss", -6.25f))),
            "1b000000000000001a0d9e1309000000000000f83f10ac022a0d0a0b0a046c6f7373150000c8c0c2520a83");
}

TEST(TfEvents, AFileBeginsWithItsVersionAndHoldsWhatWasWritten) {
  const TempDir folder;
  const audio::Waveform tone{{0.0f, 0.5f, -0.5f}, 8000};
  const Image image{3, 2, std::vector<uint8_t>(18, 7)};
  EventWriter writer(folder / "run");
  writer.scalar("train/loss", 7, -5.5f);
  writer.audio("sample", 8, tone);
  writer.image("mel", 9, image);
  writer.text("config", -1, "**hop** 256");
  writer.flush();
  const auto events = payloads(writer.path());
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(fields(events[0])[3], "brain.Event:2");

  EXPECT_EQ(fields(events[1])[2], little_endian(uint64_t{7}));
  EXPECT_EQ(value_of(events[1])[1], "train/loss");
  EXPECT_EQ(value_of(events[1])[2], little_endian(-5.5f));

  auto audio = fields(value_of(events[2])[6]);
  EXPECT_EQ(audio[1], little_endian(8000.0f));
  EXPECT_EQ(audio[2], little_endian(uint64_t{1}));
  EXPECT_EQ(audio[3], little_endian(uint64_t{3}));
  EXPECT_EQ(audio[4].size(), 44u + 6u);
  EXPECT_EQ(audio[4].substr(0, 4), "RIFF");
  EXPECT_EQ(number_at<int16_t>(audio[4], 46), 16384);
  EXPECT_EQ(audio[5], "audio/wav");

  auto picture = fields(value_of(events[3])[4]);
  EXPECT_EQ(picture[1], little_endian(uint64_t{2}));
  EXPECT_EQ(picture[2], little_endian(uint64_t{3}));
  EXPECT_EQ(picture[4], testing::text_of(png_bytes(image)));

  EXPECT_EQ(fields(events[4])[2], little_endian(~uint64_t{0}));
  EXPECT_EQ(fields(value_of(events[4])[8])[8], "**hop** 256");
}

TEST(TfEvents, AWriterSaysFromWhichStepItBeginsAgain) {
  const TempDir folder;
  EventWriter writer(folder.path());
  writer.begins_again(31);
  writer.flush();
  auto event = fields(payloads(writer.path())[1]);
  EXPECT_EQ(event[2], little_endian(uint64_t{31}));
  EXPECT_EQ(fields(event[7])[1], little_endian(uint64_t{1}));  // SessionLog's START
}

TEST(TfEvents, EveryWriterHasAFileOfItsOwn) {
  const TempDir folder;
  const EventWriter a(folder.path()), b(folder.path());
  EXPECT_NE(a.path(), b.path());
  EXPECT_EQ(a.path().filename().string().rfind("events.out.tfevents.", 0), 0u);
}

TEST(TfEvents, WhatWasNotFlushedIsWrittenAtTheEnd) {
  const TempDir folder;
  std::filesystem::path path;
  {
    EventWriter writer(folder.path());
    for (int step = 0; step < 5000; ++step) writer.scalar("x", step, 1.0f);
    path = writer.path();
    EXPECT_GT(std::filesystem::file_size(path), 65536u);
  }
  EXPECT_EQ(payloads(path).size(), 5001u);
}

TEST(TfEvents, AFolderThatCannotBeMadeIsAnError) {
  const TempDir folder;
  testing::put(folder / "file", "x");
  testing::expect_refused([&] { EventWriter writer(folder / "file"); }, Exit::cannot_create, "file",
                          "cannot be created");
}

}  // namespace
}  // namespace melflow::files
