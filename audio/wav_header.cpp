#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

#include "audio/wav.h"
#include "base/error.h"

namespace melflow::audio {
namespace {

constexpr uint32_t kHeaderAfterSize = 36;  // what the RIFF size counts besides the data

template <typename Number>
void put(std::vector<std::byte>& bytes, Number number) {
  const auto raw = std::bit_cast<std::array<std::byte, sizeof(Number)>>(number);
  for (const std::byte byte : raw) bytes.push_back(byte);
}

void put_text(std::vector<std::byte>& bytes, std::string_view text) {
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
}

}  // namespace

int64_t wav_most_samples(Encoding encoding) {
  constexpr uint32_t kLargest = std::numeric_limits<uint32_t>::max() - kHeaderAfterSize - 1;
  return kLargest / static_cast<uint32_t>(bytes_per_sample(encoding));
}

std::vector<std::byte> wav_header(int sample_rate, Encoding encoding, int64_t frames) {
  constexpr uint32_t kEndless = std::numeric_limits<uint32_t>::max();
  constexpr uint16_t kPcm = 1, kFloat = 3;  // WAVE_FORMAT_PCM, WAVE_FORMAT_IEEE_FLOAT
  const auto width = static_cast<uint32_t>(bytes_per_sample(encoding));
  if (frames > wav_most_samples(encoding)) {
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
