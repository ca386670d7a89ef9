#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audio/mel.h"
#include "audio/waveform.h"
#include "base/error.h"
#include "engine/voice.h"

namespace melflow::tools {

/// How raw PCM on stdin is to be read: --rate and --format.
struct RawFormat {
  int rate = 0;
  std::string format;
};

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
/// For raw PCM that ends within a sample of `width` bytes.
Error ends_within_sample(size_t width);

/// Throws Error{bad_data} for a file of numbers, such as a mel; of others that are no recording their reader tells.
void require_recording(const std::string& input);

/// A recording, resampled to `rate` (0: as it is); "-" is raw PCM on stdin. Throws as audio::read_audio does.
audio::Waveform read_sound(const std::string& input, int rate, int assume_rate, const RawFormat& raw);

/// What a voice is to speak: a mel from a file or from stdin ("-": .npy or .safetensors), or a recording through its
/// own mel. `samples` is the recording's length, where there was one: the copy is cut to it.
struct Spoken {
  files::MelFrames mel;
  std::optional<size_t> samples;
};
Spoken read_spoken(const std::string& input, const engine::Voice& voice, const RawFormat& raw);

/// A configuration. Throws Error{no_input, config}.
nlohmann::json read_json(const std::string& path);

}  // namespace melflow::tools
