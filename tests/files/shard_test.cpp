// Tar archives in WebDataset's layout.
#include "engine/files/shard.h"
#include "tests/files/checkpoints.h"

namespace melflow::files {
namespace {

using namespace melflow::testing;

std::string content_of(const std::string& archive, const MemberPart& part) {
  return archive.substr(part.offset, part.size);
}

TEST(Shard, PairsWhatHasOneKeyInTheOrderOfTheArchive) {
  const std::string archive = tar({{"z/b.flac", "sound b"},
                                   {"z/b.json", "{}"},
                                   {"a.wav", "sound a"},
                                   {"a.npy", "other"},
                                   {"a.mel.npy", "mel a"},
                                   {"c.d.npy", "mel of c.d"},
                                   {"c.d.WAV", "sound c.d"},
                                   {"alone.npy", "no sound"},
                                   {"__meta__.txt", "x"}});
  const auto listing = list_shard(bytes_of(archive), "x.tar");
  ASSERT_EQ(listing.samples.size(), 3u);
  EXPECT_EQ(listing.samples[0].name, "z/b.flac");
  EXPECT_EQ(listing.samples[0].mel.size, 0u);
  EXPECT_EQ(content_of(archive, listing.samples[1].sound), "sound a");
  EXPECT_EQ(content_of(archive, listing.samples[1].mel), "mel a");
  EXPECT_EQ(content_of(archive, listing.samples[2].sound), "sound c.d");
  EXPECT_EQ(content_of(archive, listing.samples[2].mel), "mel of c.d");
  EXPECT_TRUE(listing.refused.empty());
}

TEST(Shard, RefusesASecondRecordingOfAKeyByName) {
  const auto listing = list_shard(bytes_of(tar({{"a.wav", "1"}, {"a.flac", "2"}})), "x.tar");
  EXPECT_EQ(listing.samples.size(), 1u);
  ASSERT_EQ(listing.refused.size(), 1u);
  EXPECT_NE(listing.refused[0].find("x.tar: 'a.wav'"), std::string::npos) << listing.refused[0];
}

TEST(Shard, RefusesDamageAsATarDoes) {
  const std::string archive = tar({{"a.wav", std::string(600, 'a')}, {"a.npy", std::string(600, 'm')}});
  expect_refused([&] { list_shard(bytes_of(archive.substr(0, 1000)), "x.tar"); }, Exit::bad_data, "x.tar", "cut off");
  // The second header begins at 512 + 1024.
  expect_refused([&] { list_shard(bytes_of(archive.substr(0, 1836)), "x.tar"); }, Exit::bad_data, "x.tar",
                 "within a header");
  EXPECT_GT(refused_mutants(archive.substr(0, 2000), 5000,
                            [](const std::string& text) {
                              for (const auto& sample : list_shard(bytes_of(text), "mutant").samples) {
                                EXPECT_LE(sample.sound.offset + sample.sound.size, text.size());
                                EXPECT_LE(sample.mel.offset + sample.mel.size, text.size());
                              }
                            }),
            1000);
}

}  // namespace
}  // namespace melflow::files
