#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace melflow::audio {

/// The bytes of a file's sound: how many are there, how many more its header promises, and how many there are of which
/// it says nothing, its length being zero and no chunk there: whoever recorded did not come to fill it in.
struct SoundBytes {
  uint64_t held = 0, missing = 0, untold = 0;
};

/// Fills in what lies at `at`, or answers false.
using ReadAt = std::function<bool(uint64_t at, std::span<char> bytes)>;

/// Of WAV, RIFX, RF64, BW64, Wave64, AIFF and AU, `size` bytes in all: libsndfile believes the length of the file, not
/// that of the header. Another format, what a writer into a pipe put there for a length, or a header that counts
/// itself: nothing is missing.
SoundBytes sound_bytes(uint64_t size, const ReadAt& read);

}  // namespace melflow::audio
