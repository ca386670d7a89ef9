#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "audio/pcm.h"
#include "audio/sound_file.h"
#include "tests/support/refusal.h"

// Files of sound, byte by byte.
namespace melflow::testing {

inline void write_bytes(const std::filesystem::path& path, const std::vector<char>& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A WAV of interleaved 16-bit samples with a header by its book.
inline std::vector<char> wav_bytes(int sample_rate, int channels, const std::vector<int16_t>& samples) {
  const auto header = audio::wav_header(sample_rate, audio::Encoding::pcm16, static_cast<int64_t>(samples.size()));
  std::vector<char> bytes(header.size() + samples.size() * 2);
  std::memcpy(bytes.data(), header.data(), header.size());
  bytes[22] = static_cast<char>(channels);
  bytes[32] = static_cast<char>(2 * channels);
  if (!samples.empty()) std::memcpy(bytes.data() + header.size(), samples.data(), samples.size() * 2);
  return bytes;
}

/// What reading the file ends in.
inline Refusal refusal(const std::filesystem::path& path, const audio::ReadOptions& options = {}) {
  return refusal_of([&] { audio::read_audio(path, options); });
}

}  // namespace melflow::testing
