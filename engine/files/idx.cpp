#include "engine/files/idx.h"

#include <algorithm>

#include "base/error.h"

namespace melflow::files {
namespace {

constexpr std::byte kUnsignedBytes{0x08};
constexpr std::byte kTypes[] = {kUnsignedBytes,  std::byte{0x09}, std::byte{0x0B},
                                std::byte{0x0C}, std::byte{0x0D}, std::byte{0x0E}};
constexpr size_t kMaxDimensions = 4;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(Exit::bad_data, name + ": not a readable idx file: " + what);
}

}  // namespace

bool is_idx(std::span<const std::byte> bytes) noexcept {
  return bytes.size() >= 4 && bytes[0] == std::byte{0} && bytes[1] == std::byte{0} &&
         std::ranges::find(kTypes, bytes[2]) != std::end(kTypes) && bytes[3] > std::byte{0} &&
         static_cast<size_t>(bytes[3]) <= kMaxDimensions;
}

NpyArray parse_idx(std::span<const std::byte> bytes, const std::string& name) {
  if (!is_idx(bytes)) refuse(name, "it does not begin with two zeros, a type and one to four dimensions");
  if (bytes[2] != kUnsignedBytes) refuse(name, "its numbers are no unsigned bytes; save them as .npy");
  const auto dimensions = static_cast<size_t>(bytes[3]);
  const size_t header = 4 + 4 * dimensions;
  if (bytes.size() < header) refuse(name, "its header is cut off");
  NpyArray array;
  size_t count = 1;
  for (size_t i = 0; i < dimensions; ++i) {
    uint32_t size = 0;
    for (size_t b = 0; b < 4; ++b) size = size << 8 | static_cast<uint32_t>(bytes[4 + 4 * i + b]);
    array.shape.push_back(size);
    // Checked at each factor, so that the product cannot overflow.
    if (size > 0 && count > bytes.size() / size) refuse(name, "it is shorter than its header says");
    count *= size;
  }
  if (count != bytes.size() - header) {
    refuse(name, "its header promises " + std::to_string(count) + " numbers, it holds " +
                     std::to_string(bytes.size() - header));
  }
  array.values.reserve(count);
  for (const auto b : bytes.subspan(header)) array.values.push_back(static_cast<float>(b));
  return array;
}

}  // namespace melflow::files
