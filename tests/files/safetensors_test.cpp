#include "engine/files/safetensors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>

#include "tests/files/bytes.h"
#include "tests/support/refusal.h"
#include "tests/support/shared.h"

namespace melflow::files {
namespace {

using testing::bytes_of;
using testing::expect_refused;
using testing::little_endian;

std::string file_of(const std::string& header, const std::string& data = "") {
  return little_endian(static_cast<uint64_t>(header.size())) + header + data;
}
SafetensorsContent parse_text(const std::string& file) { return parse_safetensors(bytes_of(file), "in.safetensors"); }
void expect_bad(const std::string& file, const std::string& what) {
  expect_refused([&] { parse_text(file); }, Exit::bad_data, "in.safetensors", what);
}
std::string entry(const std::string& name, const std::string& shape, int begin, int end,
                  const std::string& dtype = "F32") {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[)" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}
const std::string kEight(8, '\1');

TEST(Safetensors, ReadsBackWhatItWrote) {
  const testing::TempDir folder;
  const std::vector<float> floats = {1.5f, -2.0f, 3.25f};
  const std::vector<int64_t> integers = {-1, int64_t{1} << 40};
  const std::string flags = std::string("\1\0\1", 3);
  const std::map<std::string, TensorView> tensors = {
      {"flags", {Dtype::boolean, {3}, bytes_of(flags)}},
      {"weight \"ü\"", {Dtype::f32, {1, 3}, std::as_bytes(std::span(floats))}},
      {"steps", {Dtype::i64, {2}, std::as_bytes(std::span(integers))}},
      {"nothing", {Dtype::f16, {0, 4}, {}}},
      {"scalar", {Dtype::f32, {}, std::as_bytes(std::span(floats).first(1))}}};
  const std::map<std::string, std::string> metadata = {{"format", "melflow"}, {"json", "{\"a\":\"\\n\"}\n"}};
  write_safetensors(folder / "a.safetensors", tensors, metadata, AtomicFile::Existing::refuse);
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const TensorView& read = file.tensors().at(name);
    EXPECT_EQ(read.dtype, tensor.dtype) << name;
    EXPECT_EQ(read.shape, tensor.shape) << name;
    EXPECT_EQ(testing::text_of(read.bytes), testing::text_of(tensor.bytes)) << name;
    const auto address = reinterpret_cast<uintptr_t>(read.bytes.data());
    EXPECT_TRUE(read.bytes.empty() || address % size_of(read.dtype) == 0) << name << " is not aligned";
  }
}

TEST(Safetensors, WritesTheBytesOfTheReferenceImplementation) {
  const testing::TempDir folder;
  const std::string data = "\1\2\3\4";
  write_safetensors(folder / "a", {{"b", {Dtype::u8, {4}, bytes_of(data)}}, {"c", {Dtype::f32, {1}, bytes_of(data)}}},
                    {{"k", "v"}}, AtomicFile::Existing::refuse);
  // safetensors.numpy.save({"b": …, "c": …}, {"k": "v"}): the wider type first, spaces up to a multiple of 8
  std::string header =
      R"({"__metadata__":{"k":"v"},)" + entry("c", "[1]", 0, 4) + "," + entry("b", "[4]", 4, 8, "U8") + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  EXPECT_EQ(testing::contents(folder / "a"), file_of(header, data + data));
}

TEST(Safetensors, RefusesToWriteWhatNoReaderWouldAccept) {
  const testing::TempDir folder;
  const auto write = [&](const std::string& name, int64_t extent) {
    write_safetensors(folder / "a", {{name, {Dtype::u8, {extent}, bytes_of(kEight)}}}, {},
                      AtomicFile::Existing::refuse);
  };
  EXPECT_THROW(write("x", 7), Error);
  EXPECT_THROW(write("x", -8), Error);
  EXPECT_THROW(write("__metadata__", 8), Error);
  EXPECT_THROW(write("\xff", 8), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

TEST(Safetensors, AFileWithoutTensorsIsWhole) {
  EXPECT_TRUE(parse_text(file_of("{}")).tensors.empty());
  EXPECT_EQ(parse_text(file_of(R"({"__metadata__":{}})")).metadata.size(), 0u);
}

TEST(Safetensors, TheHeaderLengthIsHeldAgainstTheFile) {
  expect_bad("", "shorter");
  expect_bad("1234567", "shorter");
  expect_bad(little_endian(uint64_t{3}) + "{}", "beyond the end");
  expect_bad(little_endian(uint64_t{100'000'000}) + "{}", "beyond the end");
  expect_bad(little_endian(uint64_t{100'000'001}) + "{}", "100,000,000");
  expect_bad(little_endian(UINT64_MAX) + "{}", "100,000,000");
}

TEST(Safetensors, AHeaderAboveTheLimitIsRefusedEvenWhereItIsThere) {
  const std::string header = "{}" + std::string(99'999'999, ' ');
  expect_bad(file_of(header), "100,000,000");
  EXPECT_TRUE(parse_text(file_of(header.substr(0, 100'000'000))).tensors.empty());
}

TEST(Safetensors, TheHeaderIsOneJsonObject) {
  expect_bad(file_of(""), "begin with '{'");
  expect_bad(file_of(" {}"), "begin with '{'");
  expect_bad(file_of("[]"), "begin with '{'");
  expect_bad(file_of("{"), "not JSON");
  expect_bad(file_of("{}{}"), "not JSON");
  expect_bad(file_of("{\"\xff\":1}"), "not JSON");
  expect_bad(file_of("{} // comment"), "not JSON");
  expect_bad(file_of(std::string("{}\0\0", 4)), "zero byte");
}

TEST(Safetensors, NestingEndsTheReadingAtOnce) {
  expect_bad(file_of("{\"a\":" + std::string(1'000'000, '[')), "list");
  std::string deep = "{";
  for (int i = 0; i < 100'000; ++i) deep += "\"a\":{";
  expect_bad(file_of(deep), "");
}

TEST(Safetensors, DuplicateKeysAreRefused) {
  expect_bad(file_of("{" + entry("a", "[2]", 0, 8) + "," + entry("a", "[2]", 0, 8) + "}", kEight), "twice");
  expect_bad(file_of(R"({"__metadata__":{},"__metadata__":{}})"), "twice");
  expect_bad(file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), "twice");
  expect_bad(file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", kEight), "twice");
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", kEight), "twice");
}

TEST(Safetensors, MetadataMapsTextToText) {
  expect_bad(file_of(R"({"__metadata__":{"a":{"b":"c"}}})"), "object");
  expect_bad(file_of(R"({"__metadata__":{"a":["b"]}})"), "list");
  expect_bad(file_of(R"({"__metadata__":{"a":1}})"), "number");
  expect_bad(file_of(R"({"__metadata__":{"a":-1}})"), "number");
  expect_bad(file_of(R"({"__metadata__":{"a":1.5}})"), "number");
  expect_bad(file_of(R"({"__metadata__":{"a":true}})"), "true or false");
  expect_bad(file_of(R"({"__metadata__":{"a":null}})"), "null");
  expect_bad(file_of(R"({"__metadata__":"a"})"), "text");
  expect_bad(file_of(R"({"__metadata__":[]})"), "list");
}

TEST(Safetensors, AnEntryHasExactlyItsThreeFields) {
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":[2]}})", kEight), "lacks");
  expect_bad(file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", kEight), "lacks");
  expect_bad(file_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", kEight), "lacks");
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", kEight), "unknown field 'x'");
  expect_bad(file_of(R"({"a":{"dtype":1,"shape":[2],"data_offsets":[0,8]}})", kEight), "number");
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", kEight), "number");
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", kEight), "text");
  expect_bad(file_of(R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", kEight), "list");
  expect_bad(file_of(R"({"a":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}})", kEight), "list");
  expect_bad(file_of(R"({"a":[1]})"), "list");
  expect_bad(file_of(R"({"a":7})"), "number");
}

TEST(Safetensors, OffsetsAreTwoPlainNumbers) {
  const auto with = [](const std::string& offsets) {
    return file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + offsets + "}}", kEight);
  };
  const std::string right = with("[0,8]");
  EXPECT_EQ(parse_text(right).tensors.at("a").bytes.size(), 8u);
  for (const std::string offsets : {"[]", "[0]", "[0,8,8]"}) expect_bad(with(offsets), "two data_offsets");
  for (const std::string offsets : {"[-0,8]", "[0,-8]", "[0,{}]"}) expect_bad(with(offsets), "where none belongs");
  for (const std::string offsets : {"[0,8.0]", "[0,8e0]", "[0,18446744073709551616]"}) {
    expect_bad(with(offsets), "fractional or too large");
  }
}

TEST(Safetensors, UnknownElementTypesAreNamed) {
  expect_bad(file_of("{" + entry("a", "[2]", 0, 8, "F31") + "}", kEight), "unknown element type 'F31'");
  expect_bad(file_of("{" + entry("a", "[8]", 0, 8, "u8") + "}", kEight), "unknown element type 'u8'");
}

TEST(Safetensors, ShapeTimesTypeIsTheByteRange) {
  for (const std::string shape : {"[1]", "[3]", "[]", "[0]", "[2,2]"}) {
    expect_bad(file_of("{" + entry("a", shape, 0, 8) + "}", kEight), "does not agree");
  }
}

TEST(Safetensors, HugeClaimsAreRefusedBeforeAnythingIsAllocated) {
  for (const std::string shape : {"[4611686018427387904]", "[4611686018427387904,4]", "[4294967296,4294967296]",
                                  "[9223372036854775807,2,9223372036854775807]"}) {
    expect_bad(file_of("{" + entry("a", shape, 0, 8) + "}", kEight), "does not agree");
  }
  expect_bad(file_of("{" + entry("a", "[9223372036854775808]", 0, 8) + "}", kEight), "more elements");
  std::string ones = "[1";
  for (int i = 0; i < 64; ++i) ones += ",1";
  expect_bad(file_of("{" + entry("a", ones + "]", 0, 4) + "}", kEight.substr(4)), "64 dimensions");
}

TEST(Safetensors, RangesFollowEachOtherWithoutGapOrOverlap) {
  const std::string four(4, '\1');
  expect_bad(file_of("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[1]", 4, 8) + "}", kEight), "overlaps");
  expect_bad(file_of("{" + entry("a", "[1]", 0, 4) + "," + entry("b", "[1]", 0, 4) + "}", four), "overlaps");
  expect_bad(file_of("{" + entry("a", "[1]", 0, 4) + "," + entry("b", "[1]", 8, 12) + "}", kEight + four), "hole");
  expect_bad(file_of("{" + entry("a", "[1]", 4, 8) + "}", kEight), "hole");
  expect_bad(file_of("{" + entry("a", "[1]", 0, 4) + "}", kEight), "belong to no tensor");
  expect_bad(file_of("{}", "x"), "belong to no tensor");
  expect_bad(file_of("{" + entry("a", "[2]", 8, 0) + "}", kEight), "ends before it begins");
  expect_bad(file_of("{" + entry("a", "[3]", 0, 12) + "}", kEight), "beyond the end");
}

TEST(Safetensors, OrderInTheHeaderIsFree) {
  const std::string file = file_of("{" + entry("a", "[1]", 4, 8) + "," + entry("e", "[0]", 4, 4) + "," +
                                       entry("b", "[1]", 0, 4) + R"(,"__metadata__":{"k":"v"}})",
                                   "\1\1\1\1\2\2\2\2");
  const auto content = parse_text(file);
  EXPECT_EQ(content.tensors.at("a").bytes[0], std::byte{2});
  EXPECT_EQ(content.tensors.at("b").bytes[0], std::byte{1});
  EXPECT_EQ(content.metadata.at("k"), "v");
}

TEST(Safetensors, TooManyTensorsAreRefused) {
  std::string header = "{";
  for (int i = 0; i <= 65536; ++i) header += (i ? "," : "") + entry("t" + std::to_string(i), "[0]", 0, 0);
  expect_bad(file_of(header + "}"), "65536");
}

TEST(Safetensors, AMessageShowsNoControlCharactersOfTheFile) {
  const auto file = file_of(R"({"a\u001b[2J)" + std::string(500, 'x') + R"(":7})");
  const auto refusal = testing::refusal_of([&] { parse_text(file); });
  EXPECT_EQ(refusal.code, Exit::bad_data);
  EXPECT_EQ(refusal.message.find('\x1b'), std::string::npos);
  EXPECT_LT(refusal.message.size(), 300u);
}

TEST(Safetensors, OnlyRegularFilesAreOpened) {
  const testing::TempDir folder;
  const auto expect_no = [](const std::filesystem::path& path, Exit code, const std::string& what) {
    expect_refused([&] { SafetensorsFile{path}; }, code, path.string(), what);
  };
  expect_no(folder / "none", Exit::no_input, "No such file");
  expect_no(folder.path(), Exit::no_input, "a folder");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_no(folder / "pipe", Exit::no_input, "a pipe");
  expect_no("/dev/zero", Exit::no_input, "a device");
  testing::put(folder / "empty", "");
  expect_no(folder / "empty", Exit::bad_data, "is empty");
  testing::put(folder / "text", "hello, world");
  expect_no(folder / "text", Exit::bad_data, "not a valid safetensors");
}

TEST(Safetensors, AFileAbove8GiBIsRefused) {
  const testing::TempDir folder;
  testing::put(folder / "big", "x");
  std::error_code failure;
  std::filesystem::resize_file(folder / "big", (uintmax_t{8} << 30) + 1, failure);  // sparse: takes no room
  if (failure) GTEST_SKIP() << "this file system makes no sparse file of 8 GiB: " << failure.message();
  expect_refused([&] { SafetensorsFile{folder / "big"}; }, Exit::bad_data, "big", "8 GiB");
}

TEST(Safetensors, AMovedFileStaysMapped) {
  const testing::TempDir folder;
  testing::put(folder / "a", file_of("{" + entry("a", "[2]", 0, 8) + "}", kEight));
  testing::put(folder / "b", file_of("{}"));
  SafetensorsFile first(folder / "a");
  SafetensorsFile second(std::move(first));
  EXPECT_EQ(second.tensors().at("a").bytes[7], std::byte{1});
  SafetensorsFile third(folder / "b");
  third = std::move(second);
  EXPECT_EQ(third.tensors().at("a").bytes[0], std::byte{1});
}

TEST(Safetensors, RealNumbersBecomeFloat32) {
  const auto convert = [](Dtype dtype, const std::string& raw) {
    return as_float32({dtype, {static_cast<int64_t>(raw.size() / size_of(dtype))}, bytes_of(raw)}, "t");
  };
  EXPECT_EQ(convert(Dtype::f32, little_endian(1.5f)), std::vector<float>{1.5f});
  EXPECT_EQ(convert(Dtype::f64, little_endian(-0.1)), std::vector<float>{-0.1f});
  EXPECT_EQ(convert(Dtype::f16, little_endian(uint16_t{0xc100})), std::vector<float>{-2.5f});
  EXPECT_EQ(convert(Dtype::bf16, little_endian(uint16_t{0x3fc0})), std::vector<float>{1.5f});
  for (const Dtype dtype : {Dtype::i64, Dtype::i32, Dtype::i16, Dtype::i8, Dtype::u8, Dtype::boolean}) {
    expect_refused([&] { convert(dtype, kEight); }, Exit::bad_data, "t", name_of(dtype));
  }
}

TEST(Safetensors, NoDamageCrashesIt) {
  const std::string valid =
      file_of(R"({"__metadata__":{"k":"v"},)" + entry("a", "[1,2]", 0, 8) + "," + entry("b", "[4]", 8, 16, "F16") + "}",
              kEight + kEight);
  ASSERT_EQ(parse_text(valid).tensors.size(), 2u);
  const auto parse_mutant = [](const std::string& mutant) {
    size_t sum = 0;  // every byte that a view promises is touched, for the address sanitizer
    for (const auto& item : parse_safetensors(bytes_of(mutant), "mutant").tensors) {
      for (const std::byte byte : item.second.bytes) sum += std::to_integer<size_t>(byte);
    }
    EXPECT_LE(sum, mutant.size() * 255);
  };
  EXPECT_GT(testing::refused_mutants(valid, 10000, parse_mutant), 5000);
}

}  // namespace
}  // namespace melflow::files
