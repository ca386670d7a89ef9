#include "engine/files/npy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/files/bytes.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::bytes_of;
using testing::expect_refused;
using testing::little_endian;
using testing::text_of;

std::string npy(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string file = "\x93NUMPY";
  file += {static_cast<char>(version), '\0'};
  file += version == 1 ? little_endian(static_cast<uint16_t>(dictionary.size()))
                       : little_endian(static_cast<uint32_t>(dictionary.size()));
  return file + dictionary + data;
}
std::string dictionary(const std::string& descr, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape +
         ", }\n";
}
NpyArray parse(const std::string& file) { return parse_npy(bytes_of(file), "in.npy"); }
void expect_bad_npy(const std::string& file, const std::string& what) {
  expect_refused([&] { parse(file); }, Exit::bad_data, "in.npy", what);
}
template <typename Number>
std::string packed(const std::vector<Number>& values, bool big_endian = false) {
  std::string data;
  for (const Number value : values) {
    std::string one = little_endian(value);
    if (big_endian) std::reverse(one.begin(), one.end());
    data += one;
  }
  return data;
}

TEST(Npy, ReadsBackWhatItWrote) {
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{}, {7}, {80, 3}, {1, 2, 3}, {0, 5}}) {
    const auto count = std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
    std::vector<float> values(static_cast<size_t>(count));
    std::iota(values.begin(), values.end(), -2.5f);
    const NpyArray array = parse_npy(npy_bytes(shape, values), "in.npy");
    EXPECT_EQ(array.shape, shape);
    EXPECT_EQ(array.values, values);
  }
}

TEST(Npy, WritesTheBytesThatNumPyWrites) {
  const std::vector<int64_t> shape = {2, 3};
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  header.append(128 - 10 - 1 - header.size(), ' ');  // numpy 2.x: 128 bytes up to the data
  EXPECT_EQ(text_of(npy_bytes(shape, values)), npy(header + "\n", packed(values)));
  const std::string one = text_of(npy_bytes(std::vector<int64_t>{3}, std::vector<float>(3)));
  EXPECT_NE(one.find("'shape': (3,), }"), std::string::npos);
}

TEST(Npy, AFileIsReadAndWrittenWhole) {
  const testing::TempDir folder;
  write_npy(folder / "a.npy", std::vector<int64_t>{2}, std::vector<float>{1, 2}, AtomicFile::Existing::refuse);
  EXPECT_EQ(read_npy(folder / "a.npy").values, (std::vector<float>{1, 2}));
  EXPECT_THROW(
      write_npy(folder / "a.npy", std::vector<int64_t>{1}, std::vector<float>{9}, AtomicFile::Existing::refuse), Error);
  EXPECT_EQ(read_npy(folder / "a.npy").values.size(), 2u);
  expect_refused([&] { read_npy(folder / "none.npy"); }, Exit::no_input, "none.npy", "No such file");
}

TEST(Npy, ReadsVersionsOneToThree) {
  for (const int version : {1, 2, 3}) {
    EXPECT_EQ(parse(npy(dictionary("<f4", "(2,)"), packed<float>({1, -2}), version)).values,
              (std::vector<float>{1, -2}));
  }
  expect_bad_npy(npy(dictionary("<f4", "(1,)"), packed<float>({1}), 4), "version");
  expect_bad_npy(npy(dictionary("<f4", "(1,)"), packed<float>({1}), 0), "version");
}

TEST(Npy, FortranOrderIsTurnedIntoCOrder) {
  const std::string file = npy(dictionary("<f4", "(2, 3)", /*fortran=*/true), packed<float>({0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(parse(file).values, (std::vector<float>{0, 1, 2, 3, 4, 5}));
  // [2, 2, 2]: element (i, j, k) lies at i + 2j + 4k
  const std::string cube = npy(dictionary("<f4", "(2, 2, 2)", true), packed<float>({0, 4, 2, 6, 1, 5, 3, 7}));
  EXPECT_EQ(parse(cube).values, (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(Npy, ConvertsEveryRealTypeInBothByteOrders) {
  const std::vector<float> small = {0, 1, 100};
  const auto expect_type = [&](const std::string& letters, auto zero) {
    using Number = decltype(zero);
    const std::vector<Number> values = {0, 1, 100};
    EXPECT_EQ(parse(npy(dictionary("<" + letters, "(3,)"), packed(values))).values, small) << letters;
    EXPECT_EQ(parse(npy(dictionary(">" + letters, "(3,)"), packed(values, true))).values, small) << letters;
  };
  expect_type("f4", float{}), expect_type("f8", double{});
  expect_type("i2", int16_t{}), expect_type("i4", int32_t{}), expect_type("i8", int64_t{});
  expect_type("u2", uint16_t{}), expect_type("u4", uint32_t{}), expect_type("u8", uint64_t{});
  EXPECT_EQ(parse(npy(dictionary("|i1", "(2,)"), "\xff\x7f")).values, (std::vector<float>{-1, 127}));
  EXPECT_EQ(parse(npy(dictionary("|u1", "(2,)"), "\xff\x7f")).values, (std::vector<float>{255, 127}));
  EXPECT_EQ(parse(npy(dictionary("|b1", "(2,)"), std::string("\1\0", 2))).values, (std::vector<float>{1, 0}));
  EXPECT_EQ(parse(npy(dictionary("<i2", "(1,)"), packed<int16_t>({-300}))).values, (std::vector<float>{-300}));
}

TEST(Npy, HalfPrecisionIsExact) {
  const std::vector<uint16_t> halves = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x3555, 0x8000};
  const std::vector<float> expected = {1, -2, 65504, 0x1p-24f, 1023 * 0x1p-24f, 0x1p-14f, 0x1.554p-2f, -0.0f};
  EXPECT_EQ(parse(npy(dictionary("<f2", "(8,)"), packed(halves))).values, expected);
  EXPECT_EQ(parse(npy(dictionary(">f2", "(8,)"), packed(halves, true))).values, expected);
  const auto special = parse(npy(dictionary("<f2", "(2,)"), packed<uint16_t>({0xfc00, 0x7e00}))).values;
  EXPECT_EQ(special[0], -std::numeric_limits<float>::infinity());
  EXPECT_NE(special[1], special[1]);
}

TEST(Npy, ObjectArraysAreRefusedUnopened) {
  expect_bad_npy(npy(dictionary("|O", "(1,)"), "\x80\x03."), "pickle");
  const std::string relative = "data/checkpoints/larynx_npy_pickle_mit/scale_stats.npy";
  REQUIRE_SHARED(relative);
  expect_refused([&] { read_npy(testing::shared(relative)); }, Exit::bad_data, "scale_stats.npy", "pickle");
}

TEST(Npy, AHeaderIsNeverEvaluated) {
  for (const std::string shape : {"(1+1,)", "(len('x'),)", "__import__('os').system('true')", "(0x2,)", "[2]", "(2)",
                                  "(2,,)", "(,)", "2", "(2.0,)", "('2',)", "(2", "(2 3)", "range(2)"}) {
    expect_bad_npy(npy(dictionary("<f4", shape), packed<float>({1, 2})), "literals");
  }
  expect_bad_npy(npy("dict(descr='<f4')\n", ""), "literals");
  expect_bad_npy(npy("{'descr': '<f\\x34', 'fortran_order': False, 'shape': (), }", packed<float>({1})), "literals");
  expect_bad_npy(npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (), }", packed<float>({1})), "literals");
}

TEST(Npy, KeysAreExactlyTheThreeOnce) {
  const std::string data = packed<float>({1});
  expect_bad_npy(npy("{'descr': '<f4', 'fortran_order': False, }", data), "lacks");
  expect_bad_npy(npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (), }", data), "twice");
  expect_bad_npy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", data), "unknown key");
  expect_bad_npy(npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} + {}", data), "goes on");
  EXPECT_EQ(parse(npy("{\"shape\":(1L,),\"fortran_order\":False,\"descr\":\"<f4\"}", data)).values.size(), 1u);
}

TEST(Npy, TypesThatAreNoRealNumberAreRefused) {
  for (const std::string descr : {"<c8", "<U4", "|S3", "<M8[s]", "f4", "|f4", "<f16", "", "<", "V8", "<f44"}) {
    expect_bad_npy(npy(dictionary(descr, "(1,)"), std::string(16, '\0')), "not a real number");
  }
  expect_bad_npy(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "1234"), "records");
}

TEST(Npy, ASizeIsBelievedOnlyWhereTheBytesAreThere) {
  const std::string data = packed<float>({1, 2});
  for (const std::string shape : {"(3,)", "(1,)", "(4611686018427387904,)", "(4294967296, 4294967296)",
                                  "(9223372036854775807, 9223372036854775807)", "(0,)"}) {
    expect_bad_npy(npy(dictionary("<f4", shape), data), "does not agree");
  }
  expect_bad_npy(npy(dictionary("<f4", "(2,)"), data + "x"), "does not agree");
  expect_bad_npy(npy(dictionary("<f4", "(99999999999999999999,)"), data), "no array");
  expect_bad_npy(npy(dictionary("<f4", "(-1,)"), data), "no array");
  std::string many = "(";
  for (int i = 0; i < 33; ++i) many += "1,";
  expect_bad_npy(npy(dictionary("<f4", many + ")"), packed<float>({1})), "32 dimensions");
}

TEST(Npy, BrokenBeginningsAreNamed) {
  expect_bad_npy("", "begin");
  expect_bad_npy("RIFF....WAVE", "begin");
  expect_bad_npy(npy("", "").substr(0, 9), "ends within");
  expect_bad_npy(npy(dictionary("<f4", "(1,)"), "").substr(0, 30), "ends within");
  expect_bad_npy(std::string("\x93NUMPY\2\0\xff\xff\xff\xff", 12), "claims");
}

TEST(Npy, NoDamageCrashesIt) {
  const auto parse_mutant = [](const std::string& mutant) { parse_npy(bytes_of(mutant), "mutant"); };
  const std::string plain = npy(dictionary("<f4", "(2, 3)"), packed<float>({0, 1, 2, 3, 4, 5}));
  EXPECT_GT(testing::refused_mutants(plain, 10000, parse_mutant), 5000);
  const std::string fortran = npy(dictionary(">i2", "(3, 1, 2)", true), packed<int16_t>({0, 1, 2, 3, 4, 5}), 2);
  EXPECT_GT(testing::refused_mutants(fortran, 10000, parse_mutant), 5000);
}

}  // namespace
}  // namespace melflow::files
