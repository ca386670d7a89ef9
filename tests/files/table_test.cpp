// Tables and images as text, idx and gzip: what is read, and what is refused.

#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "base/error.h"
#include "engine/files/csv.h"
#include "engine/files/file_kind.h"
#include "engine/files/idx.h"
#include "engine/files/inflate.h"
#include "tests/support/refusal.h"

namespace melflow::files {
namespace {

std::vector<std::byte> csv_bytes(const std::string& text) {
  const auto span = std::as_bytes(std::span(text));
  return {span.begin(), span.end()};
}

std::vector<std::byte> gzip(const std::string& text) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(text.size() + 1000, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - z.avail_out);
  deflateEnd(&z);
  return csv_bytes(out);
}

std::string refusal(const auto& call) {
  const auto [code, message] = testing::refusal_of(call);
  EXPECT_EQ(code, Exit::bad_data) << message;
  return message;
}

std::string csv_refusal(const std::string& text) {
  return refusal([&] { parse_csv(text, "t.csv"); });
}

TEST(Csv, RowsAndColumns) {
  const auto t = parse_csv("1,2.5,-3e2\n+4, 5 ,6\n", "t.csv");
  EXPECT_EQ(t.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(t.values, (std::vector<float>{1, 2.5, -300, 4, 5, 6}));
}

TEST(Csv, OtherSeparatorsLineEndsNamesAndComments) {
  const std::vector<float> expected{1, 2, 3, 4};
  for (const std::string text :
       {"1;2\r\n3;4\r\n", "1,2\r3,4\r", "1\t2\n3\t4", "1 2\n3   4\n", "# made by hand\nleft,right\n1,2\n\n3,4\n",
        "\"1\",\"2\"\n3,4", "1, 2\n3, 4\n", "1,2,\n3,4,\n", "left right\n1;2\n3;4\n", ",x\n1,2\n3,4\n",
        "\xEF\xBB\xBF"
        "1,2\n3,4\n"}) {
    EXPECT_EQ(parse_csv(text, "t.csv").values, expected) << text;
  }
}

TEST(Csv, WhatIsNoNumberIsRefusedByLine) {
  EXPECT_NE(csv_refusal("1,2\n3,x\n").find("line 2: 'x' is no finite number"), std::string::npos);
  EXPECT_NE(csv_refusal("1,2\n3\n").find("line 2: 1 columns"), std::string::npos);
  EXPECT_NE(csv_refusal("1,2\n3,\n").find("line 2"), std::string::npos);
  EXPECT_NE(csv_refusal("a,b,c\n1,2,\n3,4,\n").find("line 2: 2 columns, where 3 are named"), std::string::npos);
  EXPECT_EQ(parse_csv("sepal length\n1 2\n", "t.csv").shape[1], 2) << "blanks apart and within names";
  EXPECT_NE(csv_refusal("nan,2\n3,4\n").find("line 1: 'nan'"), std::string::npos) << "a row is no line of names";
  EXPECT_NE(csv_refusal("id,2019,2020\n1,2,3\n").find("begins with #"), std::string::npos);
  EXPECT_NE(csv_refusal("0,5;1,5\n2,5;3,5\n").find("write 0.5"), std::string::npos);
  for (const std::string text : {"", "\n\n", "a,b\n", "# nothing\n"}) csv_refusal(text);
  for (const std::string bad : {"nan", "inf", "1e400", "0x10", "1_000", "--1"}) {
    csv_refusal("1\n" + bad + "\n");
  }
  csv_refusal("a\nb\n1\n");  // one line of names, not two
  for (const std::string missing :
       {"nan,NaN\n1,2\n", "NA,N/A\n1,2\n", "?,-\n1,2\n", "inf,x\n1,2\n", ",2\n3,4\n", "\"\",\"\"\n1,2\n"}) {
    EXPECT_NE(csv_refusal(missing).find("line 1"), std::string::npos) << missing << "was taken for names";
  }
  EXPECT_NE(csv_refusal("1,1e39\n").find("single precision"), std::string::npos);
  EXPECT_EQ(csv_refusal("1,inf\n").find("single precision"), std::string::npos);
  EXPECT_EQ(parse_csv("1,1e-400\n", "t.csv").values, (std::vector<float>{1, 0}));
  EXPECT_NE(csv_refusal(std::string("1\0,\0", 4)).find("UTF-8"), std::string::npos);
  EXPECT_NE(csv_refusal(std::string((1 << 20) + 1, ',')).find("more columns"), std::string::npos);
}

TEST(Idx, ImagesAndLabels) {
  const auto images =
      parse_idx(csv_bytes(std::string("\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x01\x02\x03\xff", 20)), "i");
  EXPECT_EQ(images.shape, (std::vector<int64_t>{2, 1, 2}));
  EXPECT_EQ(images.values, (std::vector<float>{1, 2, 3, 255}));
  EXPECT_EQ(parse_idx(csv_bytes(std::string("\0\0\x08\x01\0\0\0\x01\x07", 9)), "l").values, std::vector<float>{7});
}

TEST(Idx, SizesThatDoNotAgreeAreRefused) {
  const auto refuse = [](const std::string& text) { refusal([&] { parse_idx(csv_bytes(text), "i"); }); };
  refuse(std::string("\0\0\x08\x01\0\0\0\x02\x07", 9));                     // too short
  refuse(std::string("\0\0\x08\x01\0\0\0\x01\x07\x07", 10));                // too long
  refuse(std::string("\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", 12));  // a product that overflows
  const std::string floats("\0\0\x0d\x01\0\0\0\x01\0\0\0\0", 12);
  EXPECT_NE(refusal([&] { parse_idx(csv_bytes(floats), "i"); }).find("no unsigned bytes"), std::string::npos);
  refuse(std::string("\0\0\x08\x05", 4));
  refuse(std::string("\0\0\x08\x02\0\0", 6));
}

TEST(Gzip, UnpacksAndJoinsMembers) {
  auto two = gzip("first ");
  const auto more = gzip("second");
  two.insert(two.end(), more.begin(), more.end());
  EXPECT_EQ(kind_of(two), FileKind::gzip);
  EXPECT_EQ(gunzip(two, "g"), csv_bytes("first second"));
  const std::string large(300000, 'x');
  EXPECT_EQ(gunzip(gzip(large), "g"), csv_bytes(large));
  EXPECT_EQ(gunzip(gzip(large), "g", large.size()), csv_bytes(large));
  EXPECT_EQ(gunzip(gzip(""), "g", 0), csv_bytes(""));
}

TEST(Gzip, DamagedCutAndEnormousFilesAreRefused) {
  const auto whole = gzip(std::string(5000, 'a') + "bcd");
  for (size_t size = 2; size < whole.size(); ++size) {
    refusal([&] { gunzip(std::span(whole).first(size), "g"); });
  }
  auto damaged = whole;
  damaged[damaged.size() - 5] ^= std::byte{1};  // the checksum
  refusal([&] { gunzip(damaged, "g"); });
  EXPECT_NE(refusal([&] { gunzip(whole, "g", 4000); }).find("more than 4000"), std::string::npos);
  EXPECT_NE(refusal([&] { gunzip(whole, "g", 5002); }).find("more than 5002"), std::string::npos);
  auto more = whole;
  more.push_back(std::byte{0});  // no member begins so
  refusal([&] { gunzip(more, "g"); });
}

}  // namespace
}  // namespace melflow::files
