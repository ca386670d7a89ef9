// Zip and tar archives, and what is compressed in them.
#include "engine/files/inflate.h"
#include "engine/files/tar_reader.h"
#include "engine/files/zip_reader.h"
#include "tests/files/checkpoints.h"

namespace melflow::files {
namespace {

using namespace melflow::testing;

std::map<std::string, ZipMember> unzipped(const std::string& text) { return parse_zip(kept_bytes_of(text), "x.zip"); }
void refused_zip(const std::string& text, const std::string& why) {
  expect_refused([&] { unzipped(text); }, Exit::bad_data, "x.zip", why);
}
std::string with(std::string text, size_t at, const std::string& change) {
  return text.replace(at, change.size(), change);
}

const std::vector<ZipPart> kParts{{"a/one", "first content"}, {"a/two", std::string(1000, 'z'), true}, {"empty", ""}};

TEST(Zip, ShowsStoredMembersWithoutACopyAndInflatesTheRest) {
  const std::string archive = zip(kParts);
  const auto members = parse_zip(bytes_of(archive), "x.zip");
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(text_of(members.at("a/one").stored), "first content");
  EXPECT_EQ(static_cast<const void*>(members.at("a/one").stored.data()), archive.data() + archive.find("first"));
  EXPECT_TRUE(members.at("a/two").deflated);
  EXPECT_EQ(text_of(inflate_member(members.at("a/two"), "x.zip")), std::string(1000, 'z'));
  EXPECT_EQ(members.at("empty").size, 0u);
}

TEST(Zip, RefusesWhatDoesNotAgreeWithItself) {
  const std::string archive = zip({{"name", "content"}});
  refused_zip("", "too short");
  refused_zip(archive.substr(0, archive.size() - 1), "end is missing");
  refused_zip(archive.substr(1), "directory");
  refused_zip(with(archive, 30, "eman"), "two ways");
  refused_zip(with(archive, 8, "\x08"), "two ways");
  const size_t central = archive.find("PK\1\2");
  refused_zip(with(archive, central + 8, "\x01"), "encrypted");
  refused_zip(with(archive, central + 10, "\x09"), "neither stored nor deflated");
  refused_zip(with(archive, central + 20, "\x08"), "two sizes");
  refused_zip(with(with(archive, central + 20, "\xff"), central + 24, "\xff"), "reaches beyond");
  refused_zip(with(archive, central + 42, "\x03"), "not where it is said");
  refused_zip(zip({{"same", "1"}, {"same", "2"}}), "twice");
}

TEST(Zip, RefusesNamesThatLeaveTheArchive) {
  for (const std::string name : {"../x", "a/../../x", "/etc/passwd", "a\\b", "..", ""}) {
    refused_zip(zip({{name, "content"}}), "leads out");
  }
}

TEST(Zip, RefusesSharedBytesAndBombs) {
  // Two names for one member's bytes.
  std::string archive = zip({{"a", "content"}, {"b", "content"}});
  const size_t second = archive.rfind("PK\1\2");
  archive = with(with(archive, second + 42, std::string(4, '\0')), second + 46, "a");
  archive[archive.find("PK\1\2") + 46] = 'a';
  expect_refused([&] { unzipped(archive); }, Exit::bad_data, "x.zip", "twice");
  refused_zip(zip({{"bomb", std::string(40 << 20, '\0'), true}}), "zip bomb");
}

TEST(Zip, TestsChecksumAndLengthOfWhatItInflates) {
  auto member = unzipped(zip(kParts)).at("a/two");
  const std::string archive = zip(kParts);
  member = unzipped(archive).at("a/two");
  ++member.crc;
  expect_refused([&] { inflate_member(member, "x.zip"); }, Exit::bad_data, "x.zip", "checksum");
  --member.crc;
  ++member.size;
  expect_refused([&] { inflate_member(member, "x.zip"); }, Exit::bad_data, "x.zip", "length");
  member.size = size_t{1} << 40;
  expect_refused([&] { inflate_member(member, "x.zip"); }, Exit::bad_data, "x.zip", "as large as they claim");
}

TEST(Zip, SurvivesEveryMutation) {
  EXPECT_GT(refused_mutants(zip(kParts), 20000,
                            [](const std::string& text) {
                              for (const auto& [name, member] : parse_zip(bytes_of(text), "mutant")) {
                                if (member.deflated) inflate_member(member, "mutant");
                              }
                            }),
            1000);
}

const std::vector<std::pair<std::string, std::string>> kFiles{{"./model_config.yaml", "a: 1\n"},
                                                              {"weights.ckpt", std::string(700, 'w')}};

TEST(Tar, ListsFilesWithoutACopy) {
  const std::string archive = tar(kFiles);
  const auto members = parse_tar(bytes_of(archive), "x.tar");
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(text_of(members.at("model_config.yaml")), "a: 1\n");
  EXPECT_EQ(members.at("weights.ckpt").size(), 700u);
  EXPECT_TRUE(looks_like_tar(bytes_of(archive)));
}

/// POSIX cuts a long name in two, for which tar --format=ustar and Python's tarfile have a place each.
TEST(Tar, JoinsANameThatIsCutInTwo) {
  const std::string folder(120, 'd');
  std::string archive = tar({{"name.wav", "sound"}});
  archive.replace(345, folder.size(), folder);
  size_t sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(archive[i]);
  std::snprintf(archive.data() + 148, 8, "%06zo", sum);
  const auto members = parse_tar(bytes_of(archive), "x.tar");
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members.begin()->first, folder + "/name.wav");
}

TEST(Tar, RefusesDamage) {
  const std::string archive = tar(kFiles);
  const auto refused = [](const std::string& text, const std::string& why) {
    expect_refused([&] { parse_tar(bytes_of(text), "x.tar"); }, Exit::bad_data, "x.tar", why);
  };
  refused(archive.substr(0, 1536), "cut off");
  refused(with(archive, 3, "X"), "checksum");
  refused(tar({{"a", "1"}, {"./a", "2"}}), "twice");
  EXPECT_GT(refused_mutants(archive.substr(0, 1100), 5000,
                            [](const std::string& text) { parse_tar(bytes_of(text), "mutant"); }),
            1000);
}

TEST(Gzip, StopsAtTheLimit) {
  EXPECT_EQ(inflated_limit(10), (size_t{16} << 20) + 40);
  expect_refused([] { gunzip(bytes_of("\x1f\x8bnot gzip at all"), "x.gz"); }, Exit::bad_data, "x.gz", "damaged");
}

}  // namespace
}  // namespace melflow::files
