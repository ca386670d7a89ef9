// `melflow data`, as a user meets it.

#include <nlohmann/json.hpp>

#include "tests/tools/cli_fixture.h"

namespace melflow {
namespace {

namespace fs = std::filesystem;
using melflow::testing::text_of;
using nlohmann::json;

class Data : public melflow::testing::CliFixture {
 protected:
  void SetUp() override {
    fs::create_directory(path("data"));
    fs::copy_file(clip_, path("data/a.wav"));
  }
  void spoil() const {
    fs::copy_file(clip_, path("data/b.wav"));
    put("data/c.wav", "RIFF nothing");
  }
};

TEST_F(Data, WithoutAVerbOrWithAWrongOneSaysHow) {
  EXPECT_EQ(run({"data"}).code, 64);
  EXPECT_EQ(run({"data", "--help"}).code, 0);
  const auto wrong = run({"data", "chek"});
  EXPECT_EQ(wrong.code, 64);
  EXPECT_NE(wrong.err.find("'check'"), std::string::npos) << wrong.err;
  EXPECT_EQ(run({"data", "check", path("nothing")}).code, 66);
  EXPECT_EQ(run({"data", "check", "--no-such-option"}).code, 64);
}

TEST_F(Data, CheckSaysByExitCodeTableLinesAndPageWhatIsWrong) {
  EXPECT_EQ(run({"data", "check", path("data"), "--threads", "0"}).code, 0);
  spoil();
  const auto table = run({"data", "check", path("data"), "--html", path("page.html")});
  EXPECT_EQ(table.code, 1);
  EXPECT_NE(table.out.find("duplicate  " + path("data/b.wav") + "  of " + path("data/a.wav")), std::string::npos)
      << table.out;
  EXPECT_NE(text_of(path("page.html")).find("b.wav"), std::string::npos);
  EXPECT_EQ(run({"data", "check", path("data"), "--html", path("page.html")}).code, 73);

  std::istringstream lines(run({"data", "check", path("data"), "--json"}).out);
  std::vector<json> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(json::parse(line));
  ASSERT_EQ(objects.size(), 4u);
  EXPECT_EQ(objects[0]["input"], path("data/a.wav"));
  EXPECT_TRUE(objects[0]["findings"].empty());
  EXPECT_EQ(objects[1]["findings"][0]["kind"], "duplicate");
  EXPECT_EQ(objects[2]["findings"][0]["kind"], "broken");
  EXPECT_EQ(objects[3]["summary"]["with_findings"], 2);
}

TEST_F(Data, CheckTellsOfWhatItCannotHear) {
  fs::create_symlink(path("gone.wav"), path("data/d.wav"));
  put("data/stump.tar", "nothing");
  const auto part = run({"data", "check", path("data")});
  EXPECT_EQ(part.code, 1);
  EXPECT_NE(part.err.find(path("data/d.wav") + ": is a link to nothing"), std::string::npos) << part.err;
  EXPECT_NE(part.err.find(path("data/stump.tar") + ": not a readable tar archive"), std::string::npos) << part.err;
  fs::create_directory(path("bad"));
  put("bad/c.wav", "RIFF nothing");
  const auto none = run({"data", "check", path("bad")});
  EXPECT_EQ(none.code, 1);
  EXPECT_EQ(none.out.find("nan"), std::string::npos) << none.out;
}

TEST_F(Data, PackWritesShardsThatCheckReads) {
  const auto packed = run({"data", "pack", path("data"), "-o", path("s"), "--shard-size", "100MB", "--json"});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_EQ(json::parse(packed.out)["shards"], json({path("s-000000.tar")}));
  EXPECT_EQ(run({"data", "check", path("s-000000.tar")}).code, 0);
  EXPECT_EQ(run({"data", "pack", path("data"), "-o", path("s")}).code, 73);
  spoil();
  const auto part = run({"data", "pack", path("data"), "-o", path("s"), "--force"});
  EXPECT_EQ(part.code, 1);  // the rest is packed
  EXPECT_NE(part.err.find("left out: " + path("data/c.wav")), std::string::npos) << part.err;
}

}  // namespace
}  // namespace melflow
