// What is written: the header of a WAV, and whole files.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

#include "audio/flac_file.h"
#include "audio/sound_file.h"
#include "base/error.h"
#include "base/file_ending.h"

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

void write_audio(const std::filesystem::path& path, const Waveform& waveform, Encoding encoding,
                 AtomicFile::Existing existing) {
  const auto ends_in = [&](const char* ending) { return has_ending(path.native(), ending); };
  const bool flac = ends_in(".flac"), raw = ends_in(".raw") || ends_in(".pcm");
  if (!flac && !raw && !ends_in(".wav")) {
    throw Error(Exit::usage,
                path.string() + ": the ending names no format that can be written; use .wav, .flac or .raw");
  }
  AtomicFile file(path, existing);
  if (flac) {
    FlacFile encoder(file, waveform.sample_rate, encoding);
    encoder.write(waveform.samples);
    encoder.finish();
  } else {
    if (!raw) file.write(wav_header(waveform.sample_rate, encoding, static_cast<int64_t>(waveform.samples.size())));
    constexpr size_t kBlock = 1 << 16;
    for (size_t first = 0; first < waveform.samples.size(); first += kBlock) {
      const size_t count = std::min(kBlock, waveform.samples.size() - first);
      file.write(encode_pcm(std::span(waveform.samples).subspan(first, count), encoding));
    }
    const bool odd = encoding == Encoding::pcm24 && waveform.samples.size() % 2 != 0;
    if (!raw && odd) file.write(std::array{std::byte{0}});
  }
  file.commit();
}

}  // namespace melflow::audio
