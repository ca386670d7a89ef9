#include "audio/pcm.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/nearest.h"

namespace melflow::audio {
namespace {

static_assert(std::endian::native == std::endian::little, "PCM is copied as it lies in memory");

/// 2^15 or 2^23: what a sample of 1 would be, and the first number that no longer fits.
double full_scale(Encoding encoding) { return encoding == Encoding::pcm16 ? 0x1p15 : 0x1p23; }

}  // namespace

size_t bytes_per_sample(Encoding encoding) {
  switch (encoding) {
    case Encoding::pcm16:
      return 2;
    case Encoding::pcm24:
      return 3;
    case Encoding::float32:
      break;
  }
  return 4;
}

Encoding encoding_from_name(const std::string& name) {
  static const std::array<std::string, 3> known = {"pcm16", "pcm24", "float32"};
  const auto found = std::ranges::find(known, name);
  if (found == known.end()) {
    throw Error(Exit::usage, "no encoding is called '" + name + "'" + suggestion(name, known));
  }
  return static_cast<Encoding>(found - known.begin());
}

std::vector<std::byte> encode_pcm(std::span<const float> samples, Encoding encoding) {
  const size_t width = bytes_per_sample(encoding);
  std::vector<std::byte> bytes(samples.size() * width);
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!std::isfinite(samples[i])) {
      throw Error(Exit::internal, "sample " + std::to_string(i) + " to be written is not a finite number");
    }
    std::byte* target = bytes.data() + i * width;
    if (encoding == Encoding::float32) {
      std::memcpy(target, &samples[i], width);
      continue;
    }
    const double scale = full_scale(encoding);
    const double rounded = std::nearbyint(static_cast<double>(samples[i]) * scale);
    const auto number = static_cast<int32_t>(std::clamp(rounded, -scale, scale - 1.0));
    std::memcpy(target, &number, width);
  }
  return bytes;
}

std::vector<int16_t> to_int16(std::span<const float> samples) {
  std::vector<int16_t> out(samples.size());
  std::ranges::transform(samples, out.begin(), [](float s) {
    return static_cast<int16_t>(std::lrint(std::clamp(s * 0x1p15f, -0x1p15f, 0x1p15f - 1)));
  });
  return out;
}

std::vector<float> decode_pcm(std::span<const std::byte> bytes, Encoding encoding) {
  const size_t width = bytes_per_sample(encoding);
  if (bytes.size() % width != 0) {
    throw Error(Exit::bad_data, "PCM of " + std::to_string(bytes.size()) + " bytes is cut short: a sample takes " +
                                    std::to_string(width));
  }
  std::vector<float> samples(bytes.size() / width);
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::byte* source = bytes.data() + i * width;
    if (encoding == Encoding::float32) {
      std::memcpy(&samples[i], source, width);
      continue;
    }
    // Into the upper bytes, so that the sign comes along.
    int32_t number = 0;
    std::memcpy(reinterpret_cast<std::byte*>(&number) + (4 - width), source, width);
    samples[i] = static_cast<float>(number) * 0x1p-31f;
  }
  return samples;
}

}  // namespace melflow::audio
