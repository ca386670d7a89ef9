#include "engine/voice.h"

#include <torch/torch.h>

#include "audio/error.h"
#include "engine/files/mel_file.h"
#include "engine/files/published_waveglow.h"
#include "engine/files/safetensors.h"
#include "engine/import_waveglow.h"
#include "engine/load_module.h"
#include "engine/model_config.h"
#include "engine/tensors.h"
#include "models/drawing.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

using Views = std::map<std::string, files::TensorView>;

json parse_metadata_json(const std::string& text, const std::string& key, const std::string& name) {
  auto parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) throw Error(Exit::bad_data, name + ": metadata '" + key + "' is no JSON object");
  return parsed;
}

double number(const std::map<std::string, std::string>& metadata, const std::string& key, double otherwise,
              const std::string& name) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return otherwise;
  const auto parsed = json::parse(found->second, nullptr, false);
  if (!parsed.is_number() || !(parsed.get<double>() >= 0) || parsed.get<double>() > 100) {
    throw Error(Exit::bad_data, name + ": metadata '" + key + "' is no sensible number");
  }
  return parsed.get<double>();
}

constexpr const char* kOwnKeys[] = {"format", "melflow_format_version", "model_config", "mel_recipe", "level", "sigma"};

double count_numbers(const Views& tensors) {
  double sum = 0;
  for (const auto& [key, view] : tensors) sum += static_cast<double>(view.bytes.size() / files::size_of(view.dtype));
  return sum;
}

Voice own_voice(const std::map<std::string, std::string>& metadata, double weights, const std::string& name) {
  const auto text = [&](const std::string& key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(Exit::bad_data, name + ": not a melflow voice: metadata '" + key + "' is missing");
    return found->second;
  };
  if (text("melflow_format_version") != std::to_string(kVoiceFormat)) {
    throw Error(Exit::bad_data, name + ": voice format version " + text("melflow_format_version") +
                                    " is not one that this program reads (" + std::to_string(kVoiceFormat) + ")");
  }
  Voice voice;
  try {
    voice.model_config = resolved_model_config(parse_metadata_json(text("model_config"), "model_config", name), name);
    voice.mel = files::recipe_from_json(text("mel_recipe"), name);
    voice.model = build_vocoder(voice.model_config, name, weights);
  } catch (const Error& e) {
    throw Error(Exit::bad_data, e.what());  // a bad configuration inside a file is bad data
  }
  voice.level = number(metadata, "level", 0.0, name);
  voice.sigma = number(metadata, "sigma", 1.0, name);
  voice.card = metadata;
  for (const char* key : kOwnKeys) voice.card.erase(key);
  return voice;
}

}  // namespace

bool is_own_voice(const files::Checkpoint& checkpoint) {
  return checkpoint.metadata.contains("melflow_format_version") || !files::waveglow_path(checkpoint.tensors);
}

Voice published_voice(const files::PublishedWaveGlow& published, const std::string& container,
                      const std::string& name) {
  Voice voice;
  voice.name = name;
  try {
    voice.model_config = resolved_model_config(waveglow_config(published), name);
    voice.mel.n_mels = static_cast<int>(published.n_mels);
    voice.mel.hop_length = static_cast<int>(published.hop_length);
    for (const auto& [key, value] : published.recipe) audio::set_mel_option(voice.mel, key, value);
    voice.mel.validate();
  } catch (const Error& e) {
    const std::string what = e.what();  // a bad configuration inside a file is bad data
    throw Error(Exit::bad_data, what.starts_with(name) ? what : name + ": " + what);
  }
  voice.card["origin"] = std::filesystem::path(name).filename().string() + ": " + container + ", " + published.layout;
  voice.card["mel_recipe_origin"] = published.recipe.empty()
                                        ? "assumed to be NVIDIA's; the file stores only the bands and the hop"
                                        : "the file's own configuration";
  return voice;
}

Voice load_voice(const std::filesystem::path& path) {
  const models::WithoutDrawing load_all;  // load_module sees to it that no weight is left out
  const std::string name = path.string();
  const files::CheckpointFile file(path);
  const auto& checkpoint = file.content();
  Voice voice;
  Views tensors;
  files::PublishedWaveGlow published;
  if (is_own_voice(checkpoint)) {
    if (checkpoint.container != "safetensors") {
      throw Error(Exit::bad_data, name +
                                      ": holds no WaveGlow (no tensor 'convinv.0.conv.weight'), the one kind of "
                                      "foreign voice that is known; melflow inspect lists what it holds");
    }
    for (const auto& [key, tensor] : checkpoint.tensors) tensors[key] = files::in_c_order(tensor, published.made);
    voice = own_voice(checkpoint.metadata, count_numbers(tensors), name);
  } else {
    published = files::read_published_waveglow(checkpoint, name);
    voice = published_voice(published, checkpoint.container, name);
    voice.model = build_vocoder(voice.model_config, name);
    tensors = published.tensors;
  }
  voice.name = name;
  if (voice.mel.n_mels != voice.model->n_mels() || voice.mel.hop_length != voice.model->hop_length()) {
    throw Error(Exit::bad_data, name + ": the mel recipe (" + std::to_string(voice.mel.n_mels) + " bands, hop " +
                                    std::to_string(voice.mel.hop_length) + ") is not what the model takes (" +
                                    std::to_string(voice.model->n_mels()) + ", " +
                                    std::to_string(voice.model->hop_length()) + ")");
  }
  load_module(*voice.model, tensors, name);
  voice.model->eval();
  return voice;
}

std::map<std::string, std::string> voice_metadata(const Voice& voice) {
  auto metadata = voice.card;
  metadata["format"] = "pt";  // what other safetensors readers expect of a file with tensors in PyTorch's layout
  metadata["melflow_format_version"] = std::to_string(kVoiceFormat);
  metadata["model_config"] = voice.model_config.dump();
  metadata["mel_recipe"] = files::recipe_as_json(voice.mel);
  metadata["level"] = json(voice.level).dump();
  metadata["sigma"] = json(voice.sigma).dump();
  return metadata;
}

void save_voice(const std::filesystem::path& path, const Voice& voice, AtomicFile::Existing existing) {
  TensorTable table;
  for (const auto& p : voice.model->named_parameters()) table.add(p.key(), p.value());
  for (const auto& b : voice.model->named_buffers()) table.add(b.key(), b.value());
  files::write_safetensors(path, table.views(), voice_metadata(voice), existing);
}

void require_same_recipe(const audio::Mel& mel, const Voice& voice, const std::string& mel_name) {
  if (mel.n_mels != voice.mel.n_mels) {
    throw Error(Exit::bad_data, mel_name + ": has " + std::to_string(mel.n_mels) + " mel bands, but voice " +
                                    voice.name + " takes " + std::to_string(voice.mel.n_mels));
  }
  if (!mel.recipe) return;
  const auto difference = audio::first_difference(*mel.recipe, voice.mel);
  if (!difference.empty()) {
    throw Error(Exit::bad_data, mel_name + ": made with another recipe than voice " + voice.name +
                                    " takes: " + difference + "; make the mel again with the voice's recipe");
  }
}

}  // namespace melflow::engine
