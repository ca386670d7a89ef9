#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace melflow::audio {

enum class Encoding { pcm16, pcm24, float32 };
Encoding encoding_from_name(const std::string& name);  ///< "pcm16", "pcm24", "float32"; Error{usage} otherwise
size_t bytes_per_sample(Encoding encoding);

/// Samples as little-endian PCM bytes. Integers are rounded to nearest and clamped, never wrapped.
std::vector<std::byte> encode_pcm(std::span<const float> samples, Encoding encoding);

/// Samples as 16-bit integers, rounded to nearest and clamped.
std::vector<int16_t> to_int16(std::span<const float> samples);

/// Raw little-endian PCM bytes → samples in [-1, 1).
std::vector<float> decode_pcm(std::span<const std::byte> bytes, Encoding encoding);

}  // namespace melflow::audio
