// Shards: what goes in comes out, and other programs read it.
#include "engine/data/pack.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <set>

#include "base/error.h"
#include "engine/files/npy.h"
#include "tests/data/recordings.h"
#include "tests/support/refusal.h"

namespace melflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace melflow::testing;

class PackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(data() / "speaker.1");
    for (int i = 0; i < 5; ++i) write(data() / ("clip" + std::to_string(i) + ".wav"), tone(0.3, i));
    write(data() / "speaker.1" / "a.b.flac", tone(0.3, 7));
    files::write_npy(data() / "clip2.npy", std::array<int64_t, 2>{80, 2}, std::vector<float>(160, -3.0f),
                     AtomicFile::Existing::refuse);
    std::ofstream(data() / "broken.wav") << "RIFF nothing";
  }
  fs::path data() const { return folder_ / "data"; }
  Packed packed(const std::string& prefix, const ShardOptions& options = {}) const {
    return pack(
        {data()}, folder_ / prefix, options, [] { return false; }, [](size_t, size_t) {});
  }

  TempDir folder_;
};

TEST_F(PackTest, WhatGoesInComesOut) {
  const auto result = packed("s", {.shard_bytes = 40'000});
  EXPECT_EQ(result.recordings, 6);
  EXPECT_EQ(result.mels, 1);
  ASSERT_EQ(result.refused.size(), 1u);
  EXPECT_NE(result.refused[0].find("broken.wav"), std::string::npos);
  ASSERT_GT(result.shards.size(), 1u);
  for (const auto& shard : result.shards) EXPECT_LE(fs::file_size(shard), 40'000u);

  std::vector<fs::path> shards(result.shards.begin(), result.shards.end());
  const auto clips = find_clips(shards, {}, 1);
  std::vector<std::string> names;
  for (const auto& place : clips.places) {
    names.push_back(place.path);
    const auto bytes = read_sound_bytes(clips, place);
    const auto original = place.path == "speaker_1/a_b.flac" ? data() / "speaker.1" / "a.b.flac" : data() / place.path;
    EXPECT_EQ(content(original), std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())) << place.path;
    EXPECT_EQ(place.has_mel(), place.path == "clip2.wav");
  }
  EXPECT_EQ(names, (std::vector<std::string>{"clip0.wav", "clip1.wav", "clip2.wav", "clip3.wav", "clip4.wav",
                                             "speaker_1/a_b.flac"}));
}

TEST_F(PackTest, WhatCannotBeReadToItsEndStaysOut) {
  const auto whole = content(data() / "clip3.wav");
  std::ofstream(data() / "clip3.wav", std::ios::binary) << whole.substr(0, whole.size() / 2);
  const auto result = packed("s");
  EXPECT_EQ(result.recordings, 5);
  ASSERT_EQ(result.refused.size(), 2u);
  EXPECT_NE(result.refused[1].find("clip3.wav"), std::string::npos) << result.refused[1];
}

TEST_F(PackTest, IsDeterministicAndReplacesOnlyWhenTold) {
  const auto many = packed("s", {.shard_bytes = 1});
  EXPECT_EQ(many.shards.size(), 6u);
  EXPECT_THROW(packed("s"), Error);
  const auto one = packed("s", {.existing = AtomicFile::Existing::replace});
  EXPECT_EQ(one.shards.size(), 1u);
  EXPECT_FALSE(fs::exists(many.shards[1]));  // else its recordings were heard twice
  EXPECT_EQ(content(one.shards[0]), content(packed("other").shards[0]));
}

TEST_F(PackTest, AShardOfWhateverNumberIsNotLost) {
  const auto earlier = packed("s", {.shard_bytes = 1});
  fs::remove(earlier.shards[0]);
  EXPECT_THROW(packed("s"), Error);
  EXPECT_TRUE(fs::exists(earlier.shards[1]));
}

TEST_F(PackTest, NothingTakesThePlaceOfNothing) {
  const auto earlier = packed("s");
  const auto before = content(earlier.shards.at(0));
  fs::create_directories(folder_ / "bad");
  const auto sound = tone(0.3);
  audio::write_audio(folder_ / "bad" / "nan.wav", sound, audio::Encoding::float32, AtomicFile::Existing::refuse);
  std::fstream(folder_ / "bad" / "nan.wav", std::ios::binary | std::ios::in | std::ios::out).seekp(1000)
      << "\xff\xff\xff\xff";
  for (const auto existing : {AtomicFile::Existing::replace, AtomicFile::Existing::refuse}) {
    const auto prefix = folder_ / (existing == AtomicFile::Existing::replace ? "s" : "new");
    const auto pack_it = [&] {
      pack(
          {folder_ / "bad"}, prefix, {.existing = existing}, [] { return false; }, [](size_t, size_t) {});
    };
    expect_refused(pack_it, Exit::no_input, "nan.wav");
  }
  EXPECT_EQ(content(earlier.shards[0]), before);
}

TEST_F(PackTest, AnEarlierRunsShardsBehindAGapGoToo) {
  const auto earlier = packed("s", {.shard_bytes = 1});
  fs::remove(earlier.shards.at(1));
  const fs::path others[] = {folder_ / "s-eval-000000.tar", folder_ / "s-clean-100.tar", folder_ / "s-000000.tar.old"};
  for (const auto& other : others) std::ofstream(other) << "another's";
  EXPECT_EQ(packed("s", {.existing = AtomicFile::Existing::replace}).shards.size(), 1u);
  EXPECT_FALSE(fs::exists(earlier.shards.at(2)));
  for (const auto& other : others) EXPECT_TRUE(fs::exists(other)) << other;
}

TEST_F(PackTest, AShardBehindAGapIsNoInputByALink) {
  const auto earlier = packed("s", {.shard_bytes = 1});
  fs::remove(earlier.shards.at(1));
  fs::create_directories(folder_ / "links");
  fs::create_symlink(earlier.shards.at(2), folder_ / "links" / "a.tar");
  EXPECT_THROW(pack(
                   {folder_ / "links"}, folder_ / "s", {.existing = AtomicFile::Existing::replace},
                   [] { return false; }, [](size_t, size_t) {}),
               Error);
  EXPECT_TRUE(fs::exists(earlier.shards[2]));
}

TEST_F(PackTest, ARecordingThatIsNamedItselfKeepsItsMel) {
  const auto result = pack(
      {data() / "clip2.wav", data() / "clip1.wav"}, folder_ / "named", {}, [] { return false; }, [](size_t, size_t) {});
  EXPECT_EQ(result.recordings, 2);
  EXPECT_EQ(result.mels, 1);
}

TEST_F(PackTest, StoppedOnTheWayItLeavesWhatWasThere) {
  const auto pack_until = [&](int recordings, const std::string& prefix, const ShardOptions& options) {
    return pack(
        {data()}, folder_ / prefix, options, [&] { return recordings-- <= 0; }, [](size_t, size_t) {});
  };
  const auto earlier = packed("s", {.shard_bytes = 40'000});
  const auto before = content(earlier.shards.at(0));
  fs::remove(data() / "clip0.wav");
  EXPECT_TRUE(pack_until(3, "s", {.shard_bytes = 1, .existing = AtomicFile::Existing::replace}).shards.empty());
  EXPECT_EQ(content(earlier.shards[0]), before);
  pack_until(3, "new/s", {.shard_bytes = 1});
  EXPECT_TRUE(fs::is_empty(folder_ / "new")) << "half a corpus looks like a whole one";
}

TEST_F(PackTest, ARecordingWhoseMelCannotBeReadStaysOut) {
  std::ofstream(data() / "clip2.npy", std::ios::trunc) << "";
  const auto result = packed("s");
  EXPECT_EQ(result.recordings, 5);
  ASSERT_EQ(result.refused.size(), 2u);
  EXPECT_NE(result.refused[1].find("clip2.npy"), std::string::npos) << result.refused[1];
}

TEST_F(PackTest, TarReadsItToo) {
  const std::string folder(120, 'n');
  fs::create_directories(data() / folder);
  write(data() / folder / "long.wav", tone(0.3, 9));
  const auto shard = packed("s").shards.at(0);
  const auto out = folder_ / "out";
  fs::create_directories(out);
  ASSERT_EQ(std::system(("tar -xf '" + shard + "' -C '" + out.string() + "'").c_str()), 0);
  EXPECT_EQ(content(out / "clip0.wav"), content(data() / "clip0.wav"));
  EXPECT_EQ(content(out / "clip2.mel.npy"), content(data() / "clip2.npy"));
  EXPECT_EQ(content(out / folder / "long.wav"), content(data() / folder / "long.wav"));
  EXPECT_EQ(find_clips({shard}, {}, 1).places.size(), 7u);
}

TEST_F(PackTest, NamesThatBecomeOneKeyStayTwo) {
  write(data() / "speaker.1" / "a_b.flac", tone(0.4, 8));
  write(data() / "speaker_1.wav", tone(0.3, 9));
  const auto result = packed("s");
  EXPECT_EQ(result.recordings, 8);
  const auto clips = find_clips({result.shards.at(0)}, {}, 1);
  EXPECT_EQ(clips.refused, std::vector<std::string>{});
  std::set<std::string> names;
  for (const auto& place : clips.places) names.insert(place.path);
  EXPECT_EQ(names.size(), 8u);
  EXPECT_TRUE(names.contains("speaker_1/a_b.flac") && names.contains("speaker_1/a_b-2.flac"));
}

}  // namespace
}  // namespace melflow::engine
