#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/mel_stream.h"
#include "engine/files/mel_frames.h"
#include "engine/voice.h"
#include "tools/cli/stdin_pcm.h"

namespace melflow::tools {

/// Everything on standard input, up to 2 GiB. Throws Error{bad_data, io_error}.
std::vector<std::byte> read_stdin();

/// Appends what has arrived on standard input, at least a byte; false at its end, after a signal and after
/// leave_stdin(). Throws Error{io_error}.
bool read_some_stdin(std::vector<std::byte>& bytes);
/// Nobody wants more of it: a thread that waits in read_some_stdin() for a silent pipe is let go. With false, somebody
/// does again.
void leave_stdin(bool leave = true);

/// Throws Error{bad_data} where what is `wanted` ("raw PCM") begins as a container of sound does.
void require_raw(std::span<const std::byte> beginning, const std::string& wanted);

/// Throws Error{bad_data} for a file of numbers, such as a mel; of others that are no recording their reader tells.
void require_recording(const std::string& input);

/// A recording's own mel, and how many samples it has at the mel's rate.
struct Recorded {
  files::MelFrames mel;
  int64_t samples;
};
/// The mel is made by `stream`, from its beginning, while the recording is read, so that memory does not grow with it.
/// "-" is raw PCM on stdin. `assume_rate` as audio::ReadOptions has it. Throws as audio::read_audio does, and where it
/// is too short for a mel, or makes more than files::kMostMelFrames.
Recorded read_recorded(const std::string& input, audio::MelStream& stream, int assume_rate, const RawFormat& raw);

/// What a voice is to speak: a mel from a file or from stdin ("-": .npy or .safetensors), or a recording through its
/// own mel. `samples` is the recording's length, where there was one: the copy is cut to it.
struct Spoken {
  files::MelFrames mel;
  std::optional<int64_t> samples;

  /// Of the sound, in samples, where a frame is so many.
  int64_t length(int hop_length) const {
    const auto whole = static_cast<int64_t>(mel.frames()) * hop_length;
    return std::min(whole, samples.value_or(whole));
  }
};
Spoken read_spoken(const std::string& input, const engine::Voice& voice, const RawFormat& raw);

/// A configuration. Throws Error{no_input, config}.
nlohmann::json read_json(const std::string& path);

}  // namespace melflow::tools
