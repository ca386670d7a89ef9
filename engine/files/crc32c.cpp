#include "engine/files/crc32c.h"

#include <array>
#include <cstring>

namespace melflow::files {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) ? 0x82f63b78u : 0u);
    table[byte] = value;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = crc_table();

uint32_t by_table(uint32_t crc, std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ std::to_integer<uint32_t>(byte)) & 0xff];
  return crc;
}

#if defined(__x86_64__)
/// x86's own instruction, eight bytes at a time; those left over go by the table.
[[gnu::target("sse4.2")]] uint32_t by_instruction(uint32_t crc, std::span<const std::byte> bytes) {
  uint64_t sum = crc, word;
  for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
    std::memcpy(&word, bytes.data(), sizeof word);
    sum = __builtin_ia32_crc32di(sum, word);
  }
  return by_table(static_cast<uint32_t>(sum), bytes);
}
#endif

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) {
  constexpr uint32_t kStart = 0xffffffffu;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~by_instruction(kStart, bytes);
#endif
  return ~by_table(kStart, bytes);
}

}  // namespace melflow::files
