#include "engine/files/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "engine/files/float_formats.h"
#include "engine/files/mapped_file.h"
#include "engine/files/npy_header.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxHeaderBytes = 65536;  // NumPy itself refuses more than 10,000 characters
static_assert(std::endian::native == std::endian::little);

template <typename Word>
Word word_at(const std::byte* at, bool swapped) {
  std::array<std::byte, sizeof(Word)> raw;
  std::memcpy(raw.data(), at, sizeof(Word));
  if (swapped) std::reverse(raw.begin(), raw.end());
  return std::bit_cast<Word>(raw);
}

float half_at(const std::byte* at, bool swapped) { return float_from_half(word_at<uint16_t>(at, swapped)); }
float bool_at(const std::byte* at, bool) { return *at == std::byte{0} ? 0.0f : 1.0f; }
template <typename Word>
float number_at(const std::byte* at, bool swapped) {
  return static_cast<float>(word_at<Word>(at, swapped));
}

struct Format {
  std::string_view letters;  ///< NumPy's kind and size, without the byte order
  size_t bytes;
  float (*read)(const std::byte* at, bool swapped);
};
constexpr Format kFormats[] = {
    {"f4", 4, number_at<float>},
    {"f8", 8, number_at<double>},
    {"f2", 2, half_at},
    {"b1", 1, bool_at},
    {"i1", 1, number_at<int8_t>},
    {"u1", 1, number_at<uint8_t>},
    {"i2", 2, number_at<int16_t>},
    {"u2", 2, number_at<uint16_t>},
    {"i4", 4, number_at<int32_t>},
    {"u4", 4, number_at<uint32_t>},
    {"i8", 8, number_at<int64_t>},
    {"u8", 8, number_at<uint64_t>},
};

const Format& format_of(const std::string& descr, const std::string& name) {
  if (descr.find('O') != std::string::npos) {
    refuse_npy(name,
               "it holds Python objects (a pickle), which are never opened; save plain numbers: array.astype('f4')");
  }
  const std::string_view letters = std::string_view(descr).substr(descr.empty() ? 0 : 1);
  for (const Format& format : kFormats) {
    if (letters != format.letters) continue;
    const bool ordered = descr[0] == '<' || descr[0] == '>' || descr[0] == '=';
    if (ordered || (descr[0] == '|' && format.bytes == 1)) return format;
  }
  refuse_npy(name, "its element type " + shown_name(descr) + " is not a real number; save it as array.astype('f4')");
}

/// Product of the shape, at most `limit`; nothing where it would be more.
std::optional<size_t> element_count(std::span<const int64_t> shape, size_t limit) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  size_t count = 1;
  for (const int64_t extent : shape) {
    if (static_cast<uint64_t>(extent) > limit / count) return std::nullopt;
    count *= static_cast<size_t>(extent);
  }
  return count;
}

/// Calls read(source) for each element in C order where the source is in Fortran order (first index fastest).
template <typename Read>
std::vector<float> read_fortran(std::span<const int64_t> shape, size_t count, Read read) {
  std::vector<float> values;
  values.reserve(count);
  std::vector<size_t> strides(shape.size(), 1), index(shape.size(), 0);
  for (size_t axis = 1; axis < shape.size(); ++axis) {
    strides[axis] = strides[axis - 1] * static_cast<size_t>(shape[axis - 1]);
  }
  size_t source = 0;
  while (values.size() < count) {
    values.push_back(read(source));
    for (size_t axis = shape.size(); axis-- > 0;) {
      source += strides[axis];
      if (++index[axis] < static_cast<size_t>(shape[axis])) break;
      source -= strides[axis] * index[axis];
      index[axis] = 0;
    }
  }
  return values;
}

struct Parts {
  std::string_view header;
  std::span<const std::byte> data;
};

/// A header whose shape agrees with the data behind it.
struct Checked {
  NpyHeader header;
  const Format* format;
  std::span<const std::byte> data;
  size_t count;
};

/// Magic, version, header length: 2 bytes in version 1, 4 bytes in 2 and 3.
Parts split(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, kMagic.size()) != kMagic) refuse_npy(name, "it does not begin as one; check the file");
  if (text.size() < 10) refuse_npy(name, "it ends within its header; copy or fetch it again");
  const int version = static_cast<unsigned char>(text[6]);
  if (version < 1 || version > 3 || text[7] != '\0') {
    refuse_npy(name, "its format version is unknown (1.0, 2.0 and 3.0 are read); save it again with numpy.save");
  }
  const size_t start = version == 1 ? 10 : 12;
  if (text.size() < start) refuse_npy(name, "it ends within its header; copy or fetch it again");
  const size_t length =
      version == 1 ? word_at<uint16_t>(bytes.data() + 8, false) : word_at<uint32_t>(bytes.data() + 8, false);
  if (length > kMaxHeaderBytes)
    refuse_npy(name, "its header claims " + std::to_string(length) + " bytes; save it again");
  if (length > text.size() - start) refuse_npy(name, "it ends within its header; copy or fetch it again");
  return {text.substr(start, length), bytes.subspan(start + length)};
}

Checked check(std::span<const std::byte> bytes, const std::string& name) {
  const Parts parts = split(bytes, name);
  NpyHeader header = parse_npy_header(parts.header, name);
  const Format& format = format_of(header.descr, name);
  const size_t present = parts.data.size() / format.bytes;
  const std::optional<size_t> count = element_count(header.shape, present);
  if (!count || *count * format.bytes != parts.data.size()) {
    refuse_npy(name, "its shape does not agree with the " + std::to_string(parts.data.size()) +
                         " bytes of data in it; copy or fetch it again");
  }
  return {std::move(header), &format, parts.data, *count};
}

}  // namespace

NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const auto [header, format, data, count] = check(bytes, name);
  const bool swapped = header.descr[0] == '>';
  const std::byte* const first = data.data();
  const auto read = [&format = *format, first, swapped](size_t index) {
    return format.read(first + index * format.bytes, swapped);
  };
  NpyArray array{header.shape, {}};
  if (header.fortran_order) {
    array.values = read_fortran(header.shape, count, read);
  } else {
    array.values.resize(count);
    for (size_t i = 0; i < count; ++i) array.values[i] = read(i);
  }
  return array;
}

std::optional<NpyView> view_npy(std::span<const std::byte> bytes, const std::string& name) {
  const Checked checked = check(bytes, name);
  const bool plain = checked.format == &kFormats[0] && checked.header.descr[0] != '>' && !checked.header.fortran_order;
  if (!plain) return std::nullopt;
  return NpyView{checked.header.shape, checked.data};
}

NpyArray read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes(), path.string());
}

std::vector<std::byte> npy_header(std::span<const int64_t> shape, const std::string& descr) {
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    header += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  }
  header += shape.size() == 1 ? ",), }" : "), }";
  constexpr size_t kAlignment = 64, kPrefix = 10;
  header.append(kAlignment - 1 - (kPrefix + header.size()) % kAlignment, ' ');
  header += '\n';
  std::string prefix(kMagic);
  prefix += {'\x01', '\0', static_cast<char>(header.size() & 0xff), static_cast<char>(header.size() >> 8)};
  prefix += header;
  const auto bytes = std::as_bytes(std::span(prefix));
  return {bytes.begin(), bytes.end()};
}

namespace {

std::vector<std::byte> npy_file(std::span<const int64_t> shape, const std::string& descr, size_t values,
                                std::span<const std::byte> numbers) {
  const std::optional<size_t> count = element_count(shape, values);
  if (!count || *count != values) throw Error(Exit::internal, "npy_bytes: shape and values disagree");
  auto bytes = npy_header(shape, descr);
  bytes.insert(bytes.end(), numbers.begin(), numbers.end());
  return bytes;
}

}  // namespace

std::vector<std::byte> npy_bytes(std::span<const int64_t> shape, std::span<const float> values) {
  return npy_file(shape, "<f4", values.size(), std::as_bytes(values));
}

std::vector<std::byte> npy_bytes(std::span<const int64_t> shape, std::span<const int64_t> values) {
  return npy_file(shape, "<i8", values.size(), std::as_bytes(values));
}

void write_npy(const std::filesystem::path& path, std::span<const int64_t> shape, std::span<const float> values,
               AtomicFile::Existing existing) {
  if (element_count(shape, values.size()) != values.size()) {
    throw Error(Exit::internal, path.string() + ": shape and values disagree");
  }
  AtomicFile file(path, existing);
  file.write(npy_header(shape, "<f4"));
  file.write(std::as_bytes(values));
  file.commit();
}

}  // namespace melflow::files
