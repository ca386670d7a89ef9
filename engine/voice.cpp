#include "engine/voice.h"

#include <algorithm>
#include <cmath>

#include "audio/refine.h"
#include "base/error.h"
#include "engine/files/mel_file.h"
#include "engine/files/safetensors.h"
#include "engine/noise.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

using Views = std::map<std::string, files::TensorView>;

constexpr const char* kDamaged = "; the file is damaged, or of another make: fetch or convert it again";

json parse_metadata_json(const std::string& text, const std::string& key, const std::string& name) {
  auto parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) throw Error(Exit::bad_data, name + ": metadata '" + key + "' is no JSON object" + kDamaged);
  return parsed;
}

double number(const std::map<std::string, std::string>& metadata, const std::string& key, double otherwise,
              const std::string& name) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return otherwise;
  const auto parsed = json::parse(found->second, nullptr, false);
  if (!parsed.is_number() || !(parsed.get<double>() >= 0) || parsed.get<double>() > kMostScale) {
    throw Error(Exit::bad_data, name + ": metadata '" + key + "' is no sensible number" + kDamaged);
  }
  return parsed.get<double>();
}

constexpr const char* kOwnKeys[] = {
    "format", "melflow_format_version", "model_config", "mel_recipe", "level", "sigma", "draws", "refine"};

/// `least` where it is missing.
int64_t whole_number(const std::map<std::string, std::string>& metadata, const std::string& key, int64_t least,
                     int64_t most, const std::string& name) {
  const double count = number(metadata, key, static_cast<double>(least), name);
  if (count != std::floor(count) || count < static_cast<double>(least) || count > static_cast<double>(most)) {
    throw Error(Exit::bad_data, name + ": metadata '" + key + "' is no whole number from " + std::to_string(least) +
                                    " to " + std::to_string(most));
  }
  return static_cast<int64_t>(count);
}

void require_models_mel(const Voice& voice) {
  const auto& mel = voice.mel;
  const auto options = voice.options();
  if (mel.n_mels != n_mels(options) || mel.hop_length != hop_length(options)) {
    throw Error(Exit::bad_data, voice.name + ": the mel recipe (" + std::to_string(mel.n_mels) + " bands, hop " +
                                    std::to_string(mel.hop_length) + ") is not what the model takes (" +
                                    std::to_string(n_mels(options)) + ", " + std::to_string(hop_length(options)) + ")");
  }
}

Voice own_voice(const std::map<std::string, std::string>& metadata, double weights, const std::string& name) {
  if (metadata.contains("train_state")) {
    throw Error(Exit::bad_data, name + ": is the checkpoint of a training; take the voice.safetensors of its run");
  }
  const auto text = [&](const std::string& key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(Exit::bad_data, name + ": not a melflow voice: metadata '" + key + "' is missing" + kDamaged);
    return found->second;
  };
  if (text("melflow_format_version") != std::to_string(kVoiceFormat)) {
    throw Error(Exit::bad_data, name + ": voice format version " + text("melflow_format_version") +
                                    " is not one that this program reads (" + std::to_string(kVoiceFormat) +
                                    "); a newer melflow may");
  }
  Voice voice;
  voice.name = name;
  try {
    voice.model_config = resolved_model_config(parse_metadata_json(text("model_config"), "model_config", name), name);
    voice.mel = files::recipe_from_json(text("mel_recipe"), name);
  } catch (const Error& e) {
    throw Error(Exit::bad_data, e.what());  // a bad configuration inside a file is bad data
  }
  if (weight_count(voice.options()) > weights) {
    throw Error(Exit::bad_data, name + ": model_config describes a larger model than its tensors are" + kDamaged);
  }
  voice.level = number(metadata, "level", 0.0, name);
  voice.sigma = number(metadata, "sigma", 1.0, name);
  voice.draws = whole_number(metadata, "draws", 1, kMostDraws, name);
  voice.refine = whole_number(metadata, "refine", 0, audio::RefineOptions::kMostPasses, name);
  if (voice.draws > 1 && !chooses_draws(voice.options())) {
    throw Error(Exit::bad_data, name + ": metadata 'draws' is for the system block_flow alone");
  }
  voice.card = metadata;
  for (const char* key : kOwnKeys) voice.card.erase(key);
  return voice;
}

}  // namespace

bool is_own_voice(const files::Checkpoint& checkpoint) {
  return checkpoint.metadata.contains("melflow_format_version") || !files::waveglow_path(checkpoint.tensors);
}

Voice published_voice(const files::PublishedWaveGlow& published, const std::string& container, const std::string& name,
                      const std::map<std::string, std::string>& told) {
  Voice voice;
  voice.name = name;
  try {
    voice.mel.n_mels = static_cast<int>(published.n_mels);
    voice.mel.hop_length = static_cast<int>(published.hop_length);
    for (const auto* recipe : {&published.recipe, &told}) {
      for (const auto& [key, value] : *recipe) audio::set_mel_option(voice.mel, key, value);
    }
    voice.mel.validate();
    auto options = waveglow_options(published);
    options.hop_length = voice.mel.hop_length;  // no tensor tells the stride of the upsampling
    voice.model_config = resolved_model_config(model_config(options), name);
  } catch (const Error& e) {
    const std::string what = e.what();  // a bad configuration inside a file is bad data
    throw Error(Exit::bad_data, what.starts_with(name) ? what : name + ": " + what);
  }
  voice.card["origin"] = std::filesystem::path(name).filename().string() + ": " + container + ", " + published.layout;
  auto& recipe_is = voice.card["mel_recipe_origin"];
  recipe_is = published.recipe.empty() ? "assumed to be NVIDIA's" : "the file's own configuration";
  if (!told.empty()) {
    recipe_is += ", but";
    for (const auto& [key, value] : told) recipe_is += " " + key + "=" + value;
  } else if (published.recipe.empty()) {
    recipe_is += "; the file stores only the bands and the hop";
  }
  require_models_mel(voice);
  return voice;
}

VoiceFile::VoiceFile(const std::filesystem::path& path) : file_(path) {
  voice_.name = path.string();
  if (is_own_voice(file_.content())) {
    open_own();
  } else {
    open_published();
  }
  require_models_mel(voice_);
  require_tensors(tensors(), std::visit([](const auto& o) { return o.tensors(); }, voice_.options()), voice_.name);
}

void VoiceFile::open_own() {
  const auto& checkpoint = file_.content();
  if (checkpoint.container != "safetensors") {
    throw Error(Exit::bad_data, voice_.name +
                                    ": holds no WaveGlow (no tensor 'convinv.0.conv.weight'), the one kind of "
                                    "foreign voice that is known; melflow inspect lists what it holds");
  }
  for (const auto& [key, tensor] : checkpoint.tensors) {
    published_.tensors[key] = files::in_c_order(tensor, published_.made);
  }
  voice_ = own_voice(checkpoint.metadata, static_cast<double>(files::number_count(tensors())), voice_.name);
}

void VoiceFile::open_published() {
  published_ = files::read_published_waveglow(file_.content(), voice_.name);
  voice_ = published_voice(published_, file_.content().container, voice_.name);
}

int64_t VoiceFile::parameters() const {
  const auto shapes = std::visit([](const auto& o) { return o.tensors(); }, voice_.options());
  int64_t sum = 0;
  for (const auto& [key, view] : tensors()) {
    if (shapes.at(key).trained) sum += static_cast<int64_t>(view.bytes.size() / files::size_of(view.dtype));
  }
  return sum;
}

std::map<std::string, std::string> voice_metadata(const Voice& voice) {
  auto metadata = voice.card;
  metadata["format"] = "pt";  // what other safetensors readers expect of a file with tensors in PyTorch's layout
  metadata["melflow_format_version"] = std::to_string(kVoiceFormat);
  metadata["model_config"] = voice.model_config.dump();
  metadata["mel_recipe"] = files::recipe_as_json(voice.mel);
  metadata["level"] = json(voice.level).dump();
  metadata["sigma"] = json(voice.sigma).dump();
  if (voice.draws != 1) metadata["draws"] = json(voice.draws).dump();
  if (voice.refine != 0) metadata["refine"] = json(voice.refine).dump();
  return metadata;
}

void require_finite(std::span<const float> samples, const std::string& input, const std::string& voice) {
  if (std::ranges::all_of(samples, [](float s) { return std::isfinite(s); })) return;
  throw Error(Exit::bad_data, input + ": voice " + voice + " makes samples that are not finite");
}

void require_same_recipe(const files::MelFrames& mel, const Voice& voice, const std::string& mel_name) {
  if (mel.n_mels() != voice.mel.n_mels) {
    throw Error(Exit::bad_data, mel_name + ": has " + std::to_string(mel.n_mels()) + " mel bands, but voice " +
                                    voice.name + " takes " + std::to_string(voice.mel.n_mels));
  }
  if (!mel.recipe()) return;
  const auto difference = audio::first_difference(*mel.recipe(), voice.mel);
  if (!difference.empty()) {
    throw Error(Exit::bad_data, mel_name + ": made with another recipe than voice " + voice.name +
                                    " takes: " + difference + "; make the mel again with the voice's recipe");
  }
}

}  // namespace melflow::engine
