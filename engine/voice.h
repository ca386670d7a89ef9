#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "audio/mel.h"
#include "engine/files/mel_frames.h"
#include "engine/files/published_waveglow.h"
#include "engine/model_options.h"

namespace melflow::engine {

/// Largest sigma and level of a voice.
inline constexpr double kMostScale = 100;

/// A voice but for its weights: what vocoder it is, the mel it speaks, and where it comes from. One .safetensors file;
/// docs/FORMATS.md.
struct Voice {
  std::string name;             ///< of the file, for messages
  nlohmann::json model_config;  ///< resolved; model_options.h
  audio::MelOptions mel;
  double level = 0.0;                       ///< RMS that recordings were brought to in training; 0: left as they were
  double sigma = 1.0;                       ///< the temperature at which the voice sounds best
  int64_t draws = 1;                        ///< draws of noise for each group, of which a BlockFlow takes the best
  int64_t refine = 0;                       ///< passes that bring its sound nearer to the mel (audio/refine.h)
  std::map<std::string, std::string> card;  ///< licence, training_data, commit, …: text for people

  ModelOptions options() const { return parse_model_options(model_config, name); }
};

/// Opens our own files and every published WaveGlow (docs/FORMATS.md lists the layouts), without LibTorch and without
/// a model: what streams are made of (synth/stream.h). Nothing in the file is executed; tensors are exactly those that
/// the configuration asks for. Throws Error{no_input, bad_data}.
class VoiceFile {
 public:
  explicit VoiceFile(const std::filesystem::path& path);

  const Voice& voice() const { return voice_; }
  /// In C order, of any real type, under the names of the model's options; valid as long as this lives.
  const std::map<std::string, files::TensorView>& tensors() const { return published_.tensors; }
  /// Numbers that were trained.
  int64_t parameters() const;

 private:
  void open_own();
  void open_published();

  files::CheckpointFile file_;
  files::PublishedWaveGlow published_;  // of our own files the tensors alone
  Voice voice_;
};

/// Whether a file is to be read as ours rather than as a published WaveGlow.
bool is_own_voice(const files::Checkpoint& checkpoint);

/// A published WaveGlow as a voice: configuration, recipe (NVIDIA's, where the file stores none) and card, which says
/// where it came from. `told`, keys of the recipe and their values, goes before what the file stores.
Voice published_voice(const files::PublishedWaveGlow& published, const std::string& container, const std::string& name,
                      const std::map<std::string, std::string>& told = {});

/// The metadata of a voice file.
std::map<std::string, std::string> voice_metadata(const Voice& voice);

/// Throws Error{bad_data} that names the field, where a mel's recipe is known and is not the voice's.
void require_same_recipe(const files::MelFrames& mel, const Voice& voice, const std::string& mel_name);

/// Throws Error{bad_data} where samples that a voice made of `input` are not all finite.
void require_finite(std::span<const float> samples, const std::string& input, const std::string& voice);

/// The newest file format version that this program writes and reads.
inline constexpr int kVoiceFormat = 1;

}  // namespace melflow::engine
