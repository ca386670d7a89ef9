#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "audio/atomic_file.h"
#include "audio/mel.h"
#include "engine/files/published_waveglow.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// A voice: a vocoder, the mel it speaks, and where it comes from. One .safetensors file; docs/FORMATS.md.
struct Voice {
  std::string name;             ///< of the file, for messages
  nlohmann::json model_config;  ///< resolved; model_config.h
  audio::MelOptions mel;
  double level = 0.0;                       ///< RMS that recordings were brought to in training; 0: left as they were
  double sigma = 1.0;                       ///< the temperature at which the voice sounds best
  std::map<std::string, std::string> card;  ///< licence, training_data, commit, …: text for people
  std::shared_ptr<models::Vocoder> model;   ///< float32, on the CPU, in evaluation mode
};

/// Opens our own files and every published WaveGlow (docs/FORMATS.md lists the layouts). Nothing in the file is
/// executed; tensors must be exactly those that the configuration asks for. Throws Error{no_input, bad_data}.
Voice load_voice(const std::filesystem::path& path);

/// Whether a file is to be read as ours rather than as a published WaveGlow.
bool is_own_voice(const files::Checkpoint& checkpoint);

/// A published WaveGlow as a voice without its model: configuration, recipe (NVIDIA's, where the file stores none) and
/// card, which says where it came from.
Voice published_voice(const files::PublishedWaveGlow& published, const std::string& container, const std::string& name);

void save_voice(const std::filesystem::path& path, const Voice& voice, AtomicFile::Existing existing);

/// The metadata of a voice file, as save_voice writes it.
std::map<std::string, std::string> voice_metadata(const Voice& voice);

/// Throws Error{bad_data} that names the field, where a mel's recipe is known and is not the voice's.
void require_same_recipe(const audio::Mel& mel, const Voice& voice, const std::string& mel_name);

/// The newest file format version that this program writes and reads.
inline constexpr int kVoiceFormat = 1;

}  // namespace melflow::engine
