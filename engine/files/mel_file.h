#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "audio/mel.h"
#include "base/atomic_file.h"

namespace melflow::files {

/// Of a mel that is read: 3.4 hours at 86 frames a second.
inline constexpr int64_t kMostMelFrames = int64_t{1} << 20;

/// Reads a mel from .npy or .npz ([n_mels, frames] or [1, n_mels, frames]; no recipe), from a .pt of torch.save (the
/// same; nothing is executed) or .safetensors (tensor "mel", recipe in the metadata under "mel_recipe" as a JSON
/// object). The kind is told by the content, not by the name.
/// `expected_mels` (0 = unknown) makes a transposed [frames, n_mels] array an error that says so.
/// Throws Error{no_input, bad_data}; NaN and infinity are bad data.
audio::Mel read_mel(const std::filesystem::path& path, int expected_mels = 0);

/// The same for bytes that did not come from a file (a pipe). `name` is for messages. A pure function of the bytes.
audio::Mel parse_mel(std::span<const std::byte> bytes, const std::string& name, int expected_mels = 0);

/// A mel that lies in the bytes as float32, [n_mels, frames] in C order.
struct MelView {
  int n_mels, frames;
  std::span<const std::byte> values;
  std::optional<audio::MelOptions> recipe;
};
/// As parse_mel, without a copy. Nothing where the bytes hold a mel in another form, if they do.
std::optional<MelView> view_mel(std::span<const std::byte> bytes, const std::string& name, int expected_mels = 0);

/// By extension: .npy or .safetensors (with the recipe). Error{usage} otherwise.
void write_mel(const std::filesystem::path& path, const audio::Mel& mel, AtomicFile::Existing existing);

/// Recipe ↔ the JSON text that metadata carries. recipe_from_json throws Error{bad_data} that names the field.
std::string recipe_as_json(const audio::MelOptions& options);
audio::MelOptions recipe_from_json(const std::string& json, const std::string& name);

}  // namespace melflow::files
