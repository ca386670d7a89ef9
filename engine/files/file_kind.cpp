#include "engine/files/file_kind.h"

#include <string_view>

#include "engine/files/tar_reader.h"

namespace melflow::files {
namespace {

std::string_view text_from(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr size_t kHeaderStart = 8;  // of a safetensors file, behind its length

}  // namespace

bool begins_safetensors(std::span<const std::byte> beginning) {
  constexpr std::string_view kShortHeader("\0\0\0\0{", 5);
  const auto text = text_from(beginning);
  return text.size() > kHeaderStart && text.substr(4).starts_with(kShortHeader);
}

bool begins_archive(std::span<const std::byte> beginning) {
  const auto text = text_from(beginning);
  // A zip file's first member, or the end of an empty one; and torch's number, as its pickles before 1.6 have it: at
  // once, or behind the frame that protocol 4 begins with.
  if (text.starts_with("PK\3\4") || text.starts_with("PK\5\6")) return true;
  const bool pickle = text.size() > 3 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
  return pickle && (text.substr(2).starts_with("\x8a\x0a") || (text[1] >= 4 && text[2] == '\x95'));
}

FileKind kind_of(std::span<const std::byte> beginning) {
  const auto text = text_from(beginning);
  if (text.starts_with("\x93NUMPY")) return FileKind::npy;
  // Before the others: a header's length may have the first bytes of a pickle or of a zip file.
  if (begins_safetensors(beginning)) return FileKind::safetensors;
  if (text.starts_with("PK")) return FileKind::zip;
  if (text.starts_with("\x80")) return FileKind::pickle;
  if (text.starts_with("\x1f\x8b")) return FileKind::gzip;
  if (looks_like_tar(beginning)) return FileKind::tar;
  // A damaged length: the parser of safetensors says what is wrong.
  if (text.size() > kHeaderStart && text[kHeaderStart] == '{') return FileKind::safetensors;
  return FileKind::unknown;
}

}  // namespace melflow::files
