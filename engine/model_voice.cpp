#include "engine/model_voice.h"

#include <torch/torch.h>

#include "base/error.h"
#include "engine/load_module.h"
#include "engine/model_config.h"
#include "engine/synth/tiled_stream.h"
#include "engine/tensors.h"
#include "models/drawing.h"

namespace melflow::engine {
namespace {

class TiledSource : public StreamSource {
 public:
  explicit TiledSource(std::shared_ptr<models::Vocoder> model) : model_(std::move(model)) {}
  std::unique_ptr<Stream> open(Noise noise, double sigma) const override {
    return std::make_unique<TiledStream>(model_, std::move(noise), sigma);
  }

 private:
  std::shared_ptr<models::Vocoder> model_;
};

}  // namespace

ModelVoice load_voice(const std::filesystem::path& path) {
  const models::WithoutDrawing load_all;  // load_module sees to it that no weight is left out
  const VoiceFile file(path);
  ModelVoice voice{file.voice(), build_vocoder(file.voice().options())};
  load_module(*voice.model, file.tensors(), voice.name);
  voice.model->eval();
  return voice;
}

void save_voice(const std::filesystem::path& path, const ModelVoice& voice, AtomicFile::Existing existing) {
  files::write_safetensors(path, tensors_of(*voice.model).views(), voice_metadata(voice), existing);
}

std::shared_ptr<const StreamSource> stream_source(std::shared_ptr<models::Vocoder> model, PackOptions pack) {
  // A voice that feeds on its own samples goes block by block: on the CPU, whose streams are made for it.
  if (!model->parameters().front().is_cpu() && !model->reach().endless) {
    if (pack.precision == cpu::Precision::fp32) return std::make_shared<TiledSource>(std::move(model));
    throw Error(Exit::usage, std::string("--precision ") + name_of(pack.precision) + " is for the CPU; leave it out");
  }
  return packed_source(options_of(*model), tensors_of(*model).views(), pack);
}

Synthesizer synthesizer_of(const ModelVoice& voice, const SynthOptions& options) {
  return {voice, stream_source(voice.model, {options.threads, options.precision}), options};
}

}  // namespace melflow::engine
