#include "engine/files/tar_writer.h"

#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "engine/files/shown_name.h"

namespace melflow::files {
namespace {

constexpr size_t kBlock = 512, kMostName = 100;

void append_header(std::vector<std::byte>& out, const std::string& name, uint64_t size, char type) {
  char header[kBlock] = {};
  std::memcpy(header, name.data(), std::min(name.size(), kMostName));
  std::memcpy(header + 100, "0000644\0000000000\0000000000", 24);  // mode, user, group
  std::snprintf(header + 124, 12, "%011llo", static_cast<unsigned long long>(size));
  std::memcpy(header + 136, "00000000000", 11);  // time
  std::memcpy(header + 148, "        ", 8);
  header[156] = type;
  std::memcpy(header + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header + 148, 8, "%06o", sum);
  const auto bytes = std::as_bytes(std::span(header));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

/// "LENGTH path=NAME\n", whose length counts its own digits.
std::string pax_record(const std::string& name) {
  const std::string rest = " path=" + name + "\n";
  size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return std::to_string(length) + rest;
}

}  // namespace

size_t tar_padding(uint64_t size) { return static_cast<size_t>((kBlock - size % kBlock) % kBlock); }

std::vector<std::byte> tar_header(const std::string& name, uint64_t size) {
  if (name.size() > 4000 || size >= uint64_t{1} << 33) {
    throw Error(Exit::bad_data, shown_name(name) + ": its name or its size is too large for a tar archive");
  }
  std::vector<std::byte> out;
  if (name.size() > kMostName) {
    const auto record = pax_record(name);
    append_header(out, "pax", record.size(), 'x');
    const auto bytes = std::as_bytes(std::span(record));
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.resize(out.size() + tar_padding(record.size()));
  }
  append_header(out, name, size, '0');
  return out;
}

}  // namespace melflow::files
