#pragma once

#include <memory>

#include "base/atomic_file.h"
#include "engine/synth/synthesizer.h"
#include "engine/voice.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// A voice whose weights are in a model of LibTorch: what training, likelihoods and GPUs work with.
struct ModelVoice : Voice {
  std::shared_ptr<models::Vocoder> model;  ///< float32, in evaluation mode
};

/// Throws as VoiceFile does. The model is on the CPU.
ModelVoice load_voice(const std::filesystem::path& path);

void save_voice(const std::filesystem::path& path, const ModelVoice& voice, AtomicFile::Existing existing);

/// Streams of the model as it is now: on the CPU from its weights, packed (synth/stream.h); on a GPU with the model
/// itself.
std::shared_ptr<const StreamSource> stream_source(std::shared_ptr<models::Vocoder> model, PackOptions pack = {});

/// Speaks with the model, wherever it is.
Synthesizer synthesizer_of(const ModelVoice& voice, const SynthOptions& options);

}  // namespace melflow::engine
