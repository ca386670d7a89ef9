#include <iostream>

#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/files/shown_name.h"
#include "engine/voice.h"
#include "tools/batch.h"
#include "tools/verbs.h"

namespace melflow::tools {
namespace {

using nlohmann::json;

json tensor_table(const files::SafetensorsFile& file) {
  json table = json::array();
  for (const auto& [name, view] : file.tensors()) {
    table.push_back({{"name", name}, {"dtype", files::name_of(view.dtype)}, {"shape", view.shape}});
  }
  return table;
}

/// What a voice would do for a listener: how far it looks ahead, and so how late it speaks.
json voice_facts(const std::string& path) {
  const auto voice = engine::load_voice(path);
  const auto reach = voice.model->reach();
  int64_t parameters = 0;
  for (const auto& p : voice.model->parameters()) parameters += p.numel();
  const double frame = static_cast<double>(voice.mel.hop_length) / voice.mel.sample_rate;
  return {{"model", voice.model_config},
          {"parameters", parameters},
          {"lookahead_frames", reach.lookahead_frames},
          {"lookahead_seconds", static_cast<double>(reach.lookahead_frames) * frame},
          {"level", voice.level},
          {"sigma", voice.sigma},
          {"card", voice.card}};
}

json inspect(const std::string& input) {
  json out{{"file", input}};
  if (input.ends_with(".npy")) {
    out["container"] = "npy";
    out["shape"] = files::read_npy(input).shape;
    return out;
  }
  const files::SafetensorsFile file(input);
  out["container"] = "safetensors";
  out["metadata"] = file.metadata();
  out["tensors"] = tensor_table(file);
  const bool ours = file.metadata().contains("melflow_format_version");
  if (ours || file.tensors().contains("convinv.0.conv.weight")) {
    out["layout"] = ours ? "melflow voice" : "WaveGlow under NVIDIA's names";
    out["voice"] = voice_facts(input);
  } else {
    out["layout"] = file.tensors().contains("mel")            ? "mel"
                    : file.metadata().contains("train_state") ? "checkpoint of a training run"
                                                              : "unknown";
  }
  return out;
}

void print(const json& out) {
  std::cout << out["file"].get<std::string>() << ": " << out["container"].get<std::string>();
  if (out.contains("layout")) std::cout << ", " << out["layout"].get<std::string>();
  std::cout << "\n";
  if (out.contains("shape")) std::cout << "  shape " << out["shape"].dump() << "\n";
  if (out.contains("voice")) {
    for (const auto& [key, value] : out["voice"].items()) std::cout << "  " << key << ": " << value.dump() << "\n";
  }
  const auto metadata = out.value("metadata", json::object()), tensors = out.value("tensors", json::array());
  for (const auto& [key, value] : metadata.items()) {
    std::cout << "  metadata " << files::shown_name(key) << ": " << files::shown_name(value.get<std::string>()) << "\n";
  }
  for (const auto& t : tensors) {
    std::cout << "  " << files::shown_name(t["name"].get<std::string>()) << "  " << t["dtype"].get<std::string>() << " "
              << t["shape"].dump() << "\n";
  }
}

}  // namespace

int run_inspect(CLI::App& app, std::vector<std::string> arguments) {
  std::vector<std::string> inputs;
  bool as_json = false;
  app.add_option("files", inputs, "voices, mels, checkpoints, arrays")->required();
  app.add_flag("--json", as_json, "one JSON object a file");
  parse(app, std::move(arguments));
  return for_each_item(inputs, as_json, [&](const std::string& input) {
    auto out = inspect(input);
    if (!as_json) print(out);
    return out;
  });
}

}  // namespace melflow::tools
