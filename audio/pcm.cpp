#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "audio/error.h"
#include "audio/nearest.h"
#include "audio/wav.h"

namespace melflow::audio {
namespace {

static_assert(std::endian::native == std::endian::little, "PCM is copied as it lies in memory");

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

/// 2^15 or 2^23: what a sample of 1 would be, and the first number that no longer fits.
double full_scale(Encoding encoding) { return encoding == Encoding::pcm16 ? 0x1p15 : 0x1p23; }

template <typename Number>
void put(std::vector<std::byte>& bytes, Number number) {
  const auto raw = std::bit_cast<std::array<std::byte, sizeof(Number)>>(number);
  for (const std::byte byte : raw) bytes.push_back(byte);
}

void put_text(std::vector<std::byte>& bytes, std::string_view text) {
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
}

}  // namespace

Encoding encoding_from_name(const std::string& name) {
  static const std::array<std::string, 3> known = {"pcm16", "pcm24", "float32"};
  const auto found = std::ranges::find(known, name);
  if (found == known.end()) {
    throw Error(Exit::usage, "no encoding is called '" + name + "'; did you mean " + nearest(name, known) +
                                 "? Known: pcm16, pcm24, float32");
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

std::vector<std::byte> wav_header(int sample_rate, Encoding encoding, int64_t frames) {
  constexpr uint32_t kEndless = std::numeric_limits<uint32_t>::max();
  constexpr uint32_t kHeaderAfterSize = 36;  // what the RIFF size counts besides the data
  constexpr uint16_t kPcm = 1, kFloat = 3;   // WAVE_FORMAT_PCM, WAVE_FORMAT_IEEE_FLOAT
  const auto width = static_cast<uint32_t>(bytes_per_sample(encoding));
  if (frames > static_cast<int64_t>((kEndless - kHeaderAfterSize - 1) / width)) {
    throw Error(Exit::usage, "a sound of " + std::to_string(frames) +
                                 " samples is too long for WAV (4 GiB); use .flac, .raw or fewer bits");
  }
  const uint32_t data = frames < 0 ? kEndless : static_cast<uint32_t>(frames) * width;
  std::vector<std::byte> header;
  put_text(header, "RIFF");
  put(header, frames < 0 ? kEndless : data + data % 2 + kHeaderAfterSize);
  put_text(header, "WAVEfmt ");
  put(header, uint32_t{16});
  put(header, encoding == Encoding::float32 ? kFloat : kPcm);
  put(header, uint16_t{1});  // channels
  put(header, static_cast<uint32_t>(sample_rate));
  put(header, static_cast<uint32_t>(sample_rate) * width);
  put(header, static_cast<uint16_t>(width));
  put(header, static_cast<uint16_t>(width * 8));
  put_text(header, "data");
  put(header, data);
  return header;
}

}  // namespace melflow::audio
