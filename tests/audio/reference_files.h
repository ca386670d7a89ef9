#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

// Readers for the files that others' programs left reference values in: as little of each format as those files need,
// and independent of the readers under test.
namespace melflow::testing {

inline std::vector<char> read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename Number>
Number number_at(const std::vector<char>& bytes, size_t at) {
  Number number{};
  if (at + sizeof number <= bytes.size()) std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

/// Values of a version 1.0 .npy of little-endian float32, without their shape.
inline std::vector<float> npy_values(const std::vector<char>& bytes, size_t at = 0) {
  const size_t first = at + 10 + number_at<uint16_t>(bytes, at + 8);
  std::vector<float> values((bytes.size() - first) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + first, values.size() * sizeof(float));
  return values;
}

/// window_bits: 15 for a zlib stream, -15 for the bare one inside a ZIP archive.
inline std::vector<char> inflated(const char* source, size_t length, size_t most, int window_bits) {
  std::vector<char> out(most);
  z_stream stream{};
  inflateInit2(&stream, window_bits);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(source));
  stream.avail_in = static_cast<uInt>(length);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  inflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

struct MatArray {
  std::vector<int> shape;
  std::vector<double> values;  ///< column-major, as MATLAB stores them
};

/// One data element of a MATLAB 5 file: `at` moves behind it.
struct MatElement {
  uint32_t type = 0, size = 0;
  size_t data = 0;
  MatElement(const std::vector<char>& bytes, size_t& at) {
    const auto tag = number_at<uint32_t>(bytes, at);
    if (tag >> 16 != 0) {  // small element: size and type share four bytes, the data the next four
      type = tag & 0xffff;
      size = tag >> 16;
      data = at + 4;
      at += 8;
    } else {
      type = tag;
      size = number_at<uint32_t>(bytes, at + 4);
      data = at + 8;
      at = data + (size + 7) / 8 * 8;
    }
  }
};

inline std::vector<double> mat_numbers(const std::vector<char>& bytes, const MatElement& element) {
  std::vector<double> values;
  const auto read = [&]<typename Number>(Number) {
    for (size_t i = 0; i < element.size / sizeof(Number); ++i) {
      values.push_back(static_cast<double>(number_at<Number>(bytes, element.data + i * sizeof(Number))));
    }
  };
  switch (element.type) {
    case 1:
      read(int8_t{});
      break;
    case 2:
      read(uint8_t{});
      break;
    case 3:
      read(int16_t{});
      break;
    case 4:
      read(uint16_t{});
      break;
    case 5:
      read(int32_t{});
      break;
    case 6:
      read(uint32_t{});
      break;
    case 7:
      read(float{});
      break;
    case 9:
      read(double{});
      break;
    default:
      ADD_FAILURE() << "unknown MATLAB type " << element.type;
  }
  return values;
}

/// All numeric arrays of a MATLAB 5 file, zlib-compressed or not.
inline std::map<std::string, MatArray> read_mat(const std::filesystem::path& path) {
  constexpr size_t kHeader = 128, kMostInflated = 1 << 21;
  constexpr uint32_t kCompressed = 15;
  std::map<std::string, MatArray> arrays;
  const std::vector<char> bytes = read_bytes(path);
  for (size_t at = kHeader; at + 8 <= bytes.size();) {
    const auto type = number_at<uint32_t>(bytes, at), size = number_at<uint32_t>(bytes, at + 4);
    const char* element = bytes.data() + at;
    const std::vector<char> matrix = type == kCompressed ? inflated(element + 8, size, kMostInflated, 15)
                                                         : std::vector<char>(element, element + 8 + size);
    at += 8 + size;
    size_t inside = 8;  // behind the matrix's own tag: flags, shape, name, real part
    MatElement(matrix, inside);
    MatArray array;
    for (const double extent : mat_numbers(matrix, MatElement(matrix, inside))) {
      array.shape.push_back(static_cast<int>(extent));
    }
    const MatElement name(matrix, inside);
    if (inside < matrix.size()) array.values = mat_numbers(matrix, MatElement(matrix, inside));
    arrays[std::string(matrix.data() + name.data, name.size)] = array;
  }
  return arrays;
}

/// The deflated members of a ZIP archive (.npz), by name.
inline std::map<std::string, std::vector<char>> read_zip(const std::filesystem::path& path) {
  constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50;
  constexpr size_t kCentralSize = 46;
  std::map<std::string, std::vector<char>> members;
  const std::vector<char> bytes = read_bytes(path);
  for (size_t at = 0; at + kCentralSize <= bytes.size(); ++at) {
    if (number_at<uint32_t>(bytes, at) != kCentralHeader) continue;
    const auto packed = number_at<uint32_t>(bytes, at + 20), size = number_at<uint32_t>(bytes, at + 24);
    const auto local = number_at<uint32_t>(bytes, at + 42);
    EXPECT_EQ(number_at<uint32_t>(bytes, local), kLocalHeader);
    const size_t data = local + 30 + number_at<uint16_t>(bytes, local + 26) + number_at<uint16_t>(bytes, local + 28);
    const std::string name(bytes.data() + at + kCentralSize, number_at<uint16_t>(bytes, at + 28));
    members[name] = inflated(bytes.data() + data, packed, size, -15);
  }
  return members;
}

}  // namespace melflow::testing
