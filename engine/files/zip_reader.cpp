#include "engine/files/zip_reader.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "engine/files/inflate.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

// APPNOTE.TXT (PKWARE), 4.3: signatures and sizes of the records without their variable parts.
constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56, kLocator64Bytes = 20;
constexpr size_t kMaxMembers = 65536 * 4;
constexpr uint16_t kEncrypted = 1;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable zip archive: " + what + "; fetch or save the file again");
}

template <typename Number>
Number at(std::span<const std::byte> bytes, size_t position) {
  Number value;
  std::memcpy(&value, bytes.data() + position, sizeof value);
  return value;
}

struct Directory {
  uint64_t offset = 0, bytes = 0, members = 0;
  uint64_t end = 0;  ///< where the directory must end
};

/// The end record: the last thing in the file but for a comment, whose length must fit.
Directory find_directory(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < kEndBytes) refuse(name, "it is too short");
  const size_t last = bytes.size() - kEndBytes, first = last > 65535 ? last - 65535 : 0;
  for (size_t p = last + 1; p-- > first;) {
    if (at<uint32_t>(bytes, p) != kEnd || p + kEndBytes + at<uint16_t>(bytes, p + 20) != bytes.size()) continue;
    if (at<uint16_t>(bytes, p + 4) != 0 || at<uint16_t>(bytes, p + 6) != 0) refuse(name, "it is one of several disks");
    Directory d{at<uint32_t>(bytes, p + 16), at<uint32_t>(bytes, p + 12), at<uint16_t>(bytes, p + 10), p};
    const bool wide = p >= kLocator64Bytes && at<uint32_t>(bytes, p - kLocator64Bytes) == kLocator64;
    if (wide) {
      const auto record = at<uint64_t>(bytes, p - kLocator64Bytes + 8);
      if (record > p || p - record < kEnd64Bytes + kLocator64Bytes || at<uint32_t>(bytes, record) != kEnd64) {
        refuse(name, "its zip64 record is not where it is said to be");
      }
      d = {at<uint64_t>(bytes, record + 48), at<uint64_t>(bytes, record + 40), at<uint64_t>(bytes, record + 32),
           record};
    }
    return d;
  }
  refuse(name, "its end is missing (was it cut off?)");
}

struct Entry {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t compressed = 0, size = 0, local = 0;
};

/// Sizes that do not fit 32 bits stand in the extra field 1, in this order, only those that were 0xffffffff.
void read_wide_sizes(std::span<const std::byte> extra, Entry& entry, const std::string& name) {
  constexpr uint64_t kElsewhere = 0xffffffff;
  std::vector<uint64_t*> wanted;
  for (uint64_t* field : {&entry.size, &entry.compressed, &entry.local}) {
    if (*field == kElsewhere) wanted.push_back(field);
  }
  if (wanted.empty()) return;
  for (size_t p = 0; p + 4 <= extra.size();) {
    const auto id = at<uint16_t>(extra, p), length = at<uint16_t>(extra, p + 2);
    if (length > extra.size() - p - 4) break;
    if (id == 1 && length >= 8 * wanted.size()) {
      for (size_t i = 0; i < wanted.size(); ++i) *wanted[i] = at<uint64_t>(extra, p + 4 + 8 * i);
      return;
    }
    p += 4 + length;
  }
  refuse(name, "the large sizes of member " + shown_name(entry.name) + " are missing");
}

std::vector<Entry> read_directory(std::span<const std::byte> bytes, const Directory& d, const std::string& name) {
  if (d.offset > d.end || d.bytes != d.end - d.offset) refuse(name, "its directory is not where it is said to be");
  if (d.members > kMaxMembers || d.members > d.bytes / kCentralBytes) refuse(name, "it claims too many members");
  std::vector<Entry> entries;
  size_t p = d.offset;
  for (uint64_t i = 0; i < d.members; ++i) {
    if (d.end - p < kCentralBytes || at<uint32_t>(bytes, p) != kCentral) refuse(name, "its directory is damaged");
    const size_t name_bytes = at<uint16_t>(bytes, p + 28), extra_bytes = at<uint16_t>(bytes, p + 30),
                 comment_bytes = at<uint16_t>(bytes, p + 32);
    if (d.end - p - kCentralBytes < name_bytes + extra_bytes + comment_bytes) refuse(name, "its directory is damaged");
    const auto* text = reinterpret_cast<const char*>(bytes.data() + p + kCentralBytes);
    Entry entry{std::string(text, name_bytes), at<uint16_t>(bytes, p + 8),  at<uint16_t>(bytes, p + 10),
                at<uint32_t>(bytes, p + 16),   at<uint32_t>(bytes, p + 20), at<uint32_t>(bytes, p + 24),
                at<uint32_t>(bytes, p + 42)};
    read_wide_sizes(bytes.subspan(p + kCentralBytes + name_bytes, extra_bytes), entry, name);
    entries.push_back(std::move(entry));
    p += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  }
  if (p != d.end) refuse(name, "its directory does not hold the members that it counts");
  return entries;
}

bool leaves_its_folder(const std::string& path) {
  return path.empty() || path.front() == '/' || path.find('\\') != std::string::npos ||
         path.find('\0') != std::string::npos || ("/" + path + "/").find("/../") != std::string::npos;
}

/// The member's bytes; the local header is only believed where it says the same as the directory.
ZipMember locate(std::span<const std::byte> bytes, const Entry& entry, uint64_t end, const std::string& name) {
  const std::string member = "member " + shown_name(entry.name);
  if (leaves_its_folder(entry.name)) refuse(name, member + " has a name that leads out of the archive");
  if (entry.flags & kEncrypted) refuse(name, member + " is encrypted");
  if (entry.method != 0 && entry.method != 8) refuse(name, member + " is neither stored nor deflated");
  if (entry.method == 0 && entry.compressed != entry.size) refuse(name, member + " has two sizes");
  if (entry.local > end || end - entry.local < kLocalBytes || at<uint32_t>(bytes, entry.local) != kLocal) {
    refuse(name, member + " is not where it is said to be");
  }
  const size_t name_bytes = at<uint16_t>(bytes, entry.local + 26), extra_bytes = at<uint16_t>(bytes, entry.local + 28);
  const uint64_t room = end - entry.local - kLocalBytes;
  if (room < name_bytes + extra_bytes || room - name_bytes - extra_bytes < entry.compressed) {
    refuse(name, member + " reaches beyond the archive");
  }
  const std::string_view own_name(reinterpret_cast<const char*>(bytes.data() + entry.local + kLocalBytes), name_bytes);
  if (own_name != entry.name || at<uint16_t>(bytes, entry.local + 8) != entry.method) {
    refuse(name, member + " is described in two ways");
  }
  const size_t begin = entry.local + kLocalBytes + name_bytes + extra_bytes;
  return {bytes.subspan(begin, entry.compressed), entry.method == 8, static_cast<size_t>(entry.size), entry.crc};
}

/// Members that share bytes are how a small archive becomes an endless one.
void refuse_overlap(std::vector<std::pair<uint64_t, uint64_t>> ranges, const std::string& name) {
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) refuse(name, "two members share bytes");
  }
}

}  // namespace

std::map<std::string, ZipMember> parse_zip(std::span<const std::byte> bytes, const std::string& name) {
  const Directory directory = find_directory(bytes, name);
  std::map<std::string, ZipMember> members;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  size_t inflated = 0;
  for (const Entry& entry : read_directory(bytes, directory, name)) {
    const ZipMember member = locate(bytes, entry, directory.offset, name);
    if (member.deflated && __builtin_add_overflow(inflated, member.size, &inflated)) inflated = SIZE_MAX;
    if (inflated > inflated_limit(bytes.size())) {
      refuse(name, "its members claim to become " + std::to_string(inflated) +
                       " bytes, far more than weights of this size can (a zip bomb)");
    }
    ranges.emplace_back(entry.local, static_cast<uint64_t>(member.stored.data() + member.stored.size() - bytes.data()));
    if (!members.emplace(entry.name, member).second) refuse(name, "it holds " + shown_name(entry.name) + " twice");
  }
  refuse_overlap(std::move(ranges), name);
  return members;
}

void check_crc(const ZipMember& member, std::span<const std::byte> content, const std::string& name) {
  if (crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size()) != member.crc) {
    refuse(name, "a member's checksum is not that of its content");
  }
}

std::vector<std::byte> inflate_member(const ZipMember& member, const std::string& name) {
  auto content = inflate_exactly(member.stored, member.size, name);
  check_crc(member, content, name);
  return content;
}

}  // namespace melflow::files
