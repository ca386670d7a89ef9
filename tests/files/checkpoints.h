#pragma once

#include <zlib.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/files/bytes.h"

namespace melflow::testing {

/// A literal with all its bytes, zeros too.
template <size_t N>
std::string raw(const char (&text)[N]) {
  return {text, N - 1};
}

/// Hand-made files: what torch.save, zipfile and tar would write, byte by byte.
struct ZipPart {
  std::string name, content;
  bool deflated = false;
};

inline std::string deflate(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zip(const std::vector<ZipPart>& parts) {
  std::string out, directory;
  for (const auto& [name, content, deflated] : parts) {
    const std::string stored = deflated ? deflate(content) : content;
    const auto crc = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()));
    const std::string common = little_endian<uint16_t>(20) + little_endian<uint16_t>(0) +
                               little_endian<uint16_t>(deflated ? 8 : 0) + little_endian<uint32_t>(0) +
                               little_endian(crc) + little_endian(static_cast<uint32_t>(stored.size())) +
                               little_endian(static_cast<uint32_t>(content.size())) +
                               little_endian(static_cast<uint16_t>(name.size())) + little_endian<uint16_t>(0);
    directory += "PK\1\2" + little_endian<uint16_t>(20) + common + std::string(10, '\0') +
                 little_endian(static_cast<uint32_t>(out.size())) + name;
    out += "PK\3\4" + common + name + stored;
  }
  const auto count = little_endian(static_cast<uint16_t>(parts.size()));
  return out + directory + "PK\5\6" + std::string(4, '\0') + count + count +
         little_endian(static_cast<uint32_t>(directory.size())) + little_endian(static_cast<uint32_t>(out.size())) +
         std::string(2, '\0');
}

inline std::string tar(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out;
  for (const auto& [name, content] : files) {
    std::string header(512, '\0');
    const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
    const auto octal = [](size_t value, size_t digits) {
      std::string text(digits, '0');
      for (size_t i = digits; i-- > 0; value /= 8) text[i] = static_cast<char>('0' + value % 8);
      return text;
    };
    put(0, name);
    put(100, octal(0644, 7));
    put(124, octal(content.size(), 11));
    put(148, std::string(8, ' '));
    put(156, "0");
    put(257, std::string("ustar\0", 6) + "00");
    size_t sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    put(148, octal(sum, 6) + std::string(1, '\0'));
    out += header + content + std::string((512 - content.size() % 512) % 512, '\0');
  }
  return out + std::string(1024, '\0');
}

/// Pieces of a protocol 2 pickle.
inline std::string pickled_text(const std::string& text) {
  return "X" + little_endian(static_cast<uint32_t>(text.size())) + text;
}
inline std::string pickled_integer(int32_t value) { return "J" + little_endian(value); }
inline std::string pickled_integers(const std::vector<int32_t>& values) {
  std::string out = "(";
  for (const auto value : values) out += pickled_integer(value);
  return out + "t";
}
inline std::string pickled_storage(const std::string& type, const std::string& key, int32_t count) {
  return "(" + pickled_text("storage") + "ctorch\n" + type + "\n" + pickled_text(key) + pickled_text("cpu") +
         pickled_integer(count) + "tQ";
}
struct PickledTensor {
  std::string type = "FloatStorage", key = "0";
  int32_t count = 6, offset = 0;
  std::vector<int32_t> shape = {2, 3}, strides = {3, 1};
};
inline std::string pickled_tensor(const PickledTensor& t) {
  return "ctorch._utils\n_rebuild_tensor_v2\n(" + pickled_storage(t.type, t.key, t.count) + pickled_integer(t.offset) +
         pickled_integers(t.shape) + pickled_integers(t.strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

/// torch.save's zip container around one pickle.
inline std::string pytorch_zip(const std::string& pickle, const std::map<std::string, std::string>& storages,
                               const std::string& byteorder = "little") {
  std::vector<ZipPart> parts{{"archive/data.pkl", "\x80\x02" + pickle + "."}, {"archive/byteorder", byteorder}};
  for (const auto& [key, content] : storages) parts.push_back({"archive/data/" + key, content});
  return zip(parts);
}

inline std::string floats(const std::vector<float>& values) {
  std::string out;
  for (const float value : values) out += little_endian(value);
  return out;
}

}  // namespace melflow::testing
