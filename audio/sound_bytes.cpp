#include "audio/sound_bytes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace melflow::audio {
namespace {

/// Where a format has its chunks, and what a chunk's head looks like: a name, of which four letters count, and a
/// length.
struct Layout {
  uint64_t start;         // of the first chunk
  size_t name, length;    // bytes of each
  bool big_endian;        // the length
  bool counts_head;       // the length is that of the head, too
  uint64_t align;         // of the next chunk
  std::string_view data;  // name of the chunk with the sound
};
constexpr Layout kRiff{12, 4, 4, false, false, 2, "data"}, kRifx{12, 4, 4, true, false, 2, "data"},
    kAiff{12, 4, 4, true, false, 2, "SSND"}, kWave64{40, 16, 8, false, true, 8, "data"};

/// Lengths at the end of 32 bits, and of 63, are what a writer says who does not know.
constexpr uint64_t kEndless32 = 0x7F000000, kEndless64 = uint64_t{1} << 62;

uint64_t number(std::span<const char> bytes, bool big_endian) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value = value << 8 | static_cast<unsigned char>(bytes[big_endian ? i : bytes.size() - 1 - i]);
  return value;
}

SoundBytes promised(uint64_t size, uint64_t at, uint64_t length, uint64_t endless) {
  if (at > size || length >= endless) return {};
  const uint64_t held = size - at;
  // A header that counts itself: the whole file, what RIFF counts of it, or the chunk's own head.
  const bool counts_itself = length == size || length == size - 8 || length == held + 8;
  const bool whole = held == 0 || length <= held || counts_itself;
  return whole ? SoundBytes{} : SoundBytes{held, length - held};
}

/// Whether a chunk is there: a name of printable letters, and a length that fits.
bool begins_chunk(const Layout& layout, uint64_t at, uint64_t size, const ReadAt& read) {
  std::array<char, 24> head{};
  const auto whole = std::span<char>(head).first(layout.name + layout.length);
  if (!read(at, whole)) return false;
  const bool named = std::all_of(head.begin(), head.begin() + 4, [](char c) { return c >= ' ' && c <= '~'; });
  return named && number(whole.subspan(layout.name), layout.big_endian) <= size - at;
}

SoundBytes in_chunks(const Layout& layout, uint64_t size, const ReadAt& read) {
  constexpr int kMostChunks = 1024;
  uint64_t at = layout.start;
  std::optional<uint64_t> of_rf64;
  for (int i = 0; i < kMostChunks; ++i) {
    std::array<char, 24> head{};
    const auto whole = std::span<char>(head).first(layout.name + layout.length);
    if (!read(at, whole)) return {};
    const std::string_view name(head.data(), 4);
    uint64_t length = number(whole.subspan(layout.name), layout.big_endian);
    const uint64_t begin = at + whole.size();
    if (name == "ds64") {  // RF64's: the length that the chunk itself has no room for
      std::array<char, 8> long_length{};
      if (read(begin + 8, long_length)) of_rf64 = number(long_length, false);
    }
    if (layout.counts_head) length -= std::min<uint64_t>(length, whole.size());
    if (name == layout.data) {
      const bool in_ds64 = of_rf64 && length == 0xFFFFFFFF;
      if (in_ds64) length = *of_rf64;
      if (length == 0 && !begins_chunk(layout, begin, size, read)) return {0, 0, size - std::min(begin, size)};
      return promised(size, begin, length, layout.length == 4 && !in_ds64 ? kEndless32 : kEndless64);
    }
    if (length > size) return {};
    at = (begin + length + layout.align - 1) / layout.align * layout.align;
  }
  return {};
}

}  // namespace

SoundBytes sound_bytes(uint64_t size, const ReadAt& read) {
  std::array<char, 12> head{};
  if (!read(0, head)) return {};
  const std::string_view first(head.data(), 4), form(head.data() + 8, 4);
  if ((first == "RIFF" || first == "RF64" || first == "BW64") && form == "WAVE") return in_chunks(kRiff, size, read);
  if (first == "RIFX" && form == "WAVE") return in_chunks(kRifx, size, read);
  if (first == "FORM" && (form == "AIFF" || form == "AIFC")) return in_chunks(kAiff, size, read);
  if (first == "riff") return in_chunks(kWave64, size, read);
  if (first == ".snd") {
    const auto bytes = std::span<const char>(head);
    return promised(size, number(bytes.subspan(4, 4), true), number(bytes.subspan(8, 4), true), kEndless32);
  }
  return {};
}

}  // namespace melflow::audio
