#include "engine/files/tar_reader.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kBlock = 512, kMaxMembers = 65536, kMaxName = 4096;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable tar archive: " + what + "; fetch the file again");
}

std::string_view field(std::string_view header, size_t begin, size_t length) {
  const auto text = header.substr(begin, length);
  return text.substr(0, text.find('\0'));
}

/// Octal digits, or base 256 where the first bit is set (GNU, for large sizes).
std::optional<uint64_t> tar_number(std::string_view header, size_t begin, size_t length) {
  const auto raw = header.substr(begin, length);
  uint64_t value = 0;
  if (static_cast<unsigned char>(raw[0]) == 0x80) {
    for (const char c : raw.substr(1)) {
      if (value >> 56) return std::nullopt;
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  auto text = field(header, begin, length);
  while (text.starts_with(' ')) text.remove_prefix(1);
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (status != std::errc{} || (end != text.data() + text.size() && *end != ' ')) return std::nullopt;
  return value;
}

bool checksum_holds(std::string_view header) {
  uint64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(header[i]);
  return tar_number(header, 148, 8) == sum;
}

/// "27 path=some/long/name\n" records: the one named path.
std::string pax_path(std::string_view records) {
  const size_t key = records.find(" path=");
  if (key == std::string_view::npos) return {};
  const auto rest = records.substr(key + 6);
  return std::string(rest.substr(0, rest.find('\n')));
}

std::string own_name(std::string_view header) {
  const auto prefix = field(header, 345, 155), name = field(header, 0, 100);
  const bool posix = header.substr(257, 6) == std::string_view("ustar\0", 6);
  return posix && !prefix.empty() ? std::string(prefix) + "/" + std::string(name) : std::string(name);
}

}  // namespace

bool looks_like_tar(std::span<const std::byte> bytes) {
  if (bytes.size() < kBlock) return false;
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()), kBlock);
  return header[0] != '\0' && checksum_holds(header);
}

std::map<std::string, std::span<const std::byte>> parse_tar(std::span<const std::byte> bytes, const std::string& name,
                                                            const std::function<void(size_t)>& passed) {
  std::map<std::string, std::span<const std::byte>> members;
  std::string long_name;
  size_t at = 0;
  for (size_t count = 0; at + kBlock <= bytes.size(); ++count) {
    if (passed) passed(at);
    if (count > kMaxMembers) refuse(name, "it has more than 65,536 members");
    const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + at, kBlock);
    if (header.find_first_not_of('\0') == std::string_view::npos) return members;  // the end mark
    if (!checksum_holds(header)) refuse(name, "the checksum of a header does not hold");
    const auto size = tar_number(header, 124, 12);
    at += kBlock;
    if (!size || *size > bytes.size() - at) refuse(name, "a member reaches beyond its end (was it cut off?)");
    const auto content = bytes.subspan(at, *size);
    at += std::min(bytes.size() - at, (*size + kBlock - 1) / kBlock * kBlock);
    const std::string_view text(reinterpret_cast<const char*>(content.data()), std::min(content.size(), kMaxName));
    const char type = header[156];
    if (type == 'L') {
      long_name = text.substr(0, text.find('\0'));
    } else if (type == 'x') {
      long_name = pax_path(text);
    } else {
      auto path = long_name.empty() ? own_name(header) : std::exchange(long_name, {});
      long_name.clear();
      while (path.starts_with("./")) path.erase(0, 2);
      if (type != '0' && type != '\0') continue;
      if (!members.emplace(path, content).second) refuse(name, "it holds " + shown_name(path) + " twice");
    }
  }
  if (bytes.empty()) refuse(name, "it is empty");
  const auto rest = bytes.subspan(at);  // of an end mark, or of a header
  if (!std::ranges::all_of(rest, [](std::byte b) { return b == std::byte{0}; })) {
    refuse(name, "it ends within a header (was it cut off?)");
  }
  return members;
}

}  // namespace melflow::files
