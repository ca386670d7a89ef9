#include "engine/train/config.h"

#include "audio/error.h"
#include "audio/nearest.h"
#include "engine/model_config.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

template <typename Config, typename Visit>
void train_fields(Config& c, Visit&& visit) {
  visit("seed", c.seed);
  visit("steps", c.steps);
  visit("batch_size", c.batch_size);
  visit("segment_frames", c.segment_frames);
  visit("learning_rate", c.learning_rate);
  visit("final_learning_rate", c.final_learning_rate);
  visit("warmup_steps", c.warmup_steps);
  visit("decay_steps", c.decay_steps);
  visit("beta1", c.beta1);
  visit("beta2", c.beta2);
  visit("epsilon", c.epsilon);
  visit("gradient_clip", c.gradient_clip);
  visit("ema", c.ema);
  visit("level", c.level);
  visit("dequantise", c.dequantise);
  visit("hold_out_every", c.hold_out_every);
  visit("validation_every", c.validation_every);
  visit("checkpoint_every", c.checkpoint_every);
  visit("sample_every", c.sample_every);
  visit("keep_checkpoints", c.keep_checkpoints);
  visit("bad_steps_in_a_row", c.bad_steps_in_a_row);
  visit("sigma", c.sigma);
  visit("name", c.name);
  visit("licence", c.licence);
  visit("training_data", c.training_data);
}

struct Reader {
  const json& object;
  const std::string& name;
  std::vector<std::string> known{};

  template <typename Field>
  void operator()(const char* key, Field& field) {
    known.emplace_back(key);
    const auto found = object.find(key);
    if (found == object.end()) return;
    const bool fits = std::is_same_v<Field, std::string> ? found->is_string()
                      : std::is_same_v<Field, double>    ? found->is_number()
                                                         : found->is_number_integer();
    if (!fits)
      throw Error(Exit::config, name + ": train." + key + " is " + found->dump() + ", which is of another type");
    field = found->get<Field>();
    if constexpr (!std::is_same_v<Field, std::string>) {
      if (field < 0) throw Error(Exit::config, name + ": train." + key + " is negative");
    }
  }
};

struct Writer {
  json out = json::object();
  template <typename Field>
  void operator()(const char* key, const Field& field) {
    out[key] = field;
  }
};

/// NVIDIA's names for the same things (waveglow/config.json).
json from_nvidia(const json& in, const std::string& name) {
  json out{{"model", {{"system", "waveglow"}}}, {"mel", json::object()}, {"train", json::object()}};
  const auto move = [&](const json& from, const std::string& section,
                        const std::vector<std::pair<std::string, std::pair<std::string, std::string>>>& names) {
    std::vector<std::string> known;
    for (const auto& [theirs, ours] : names) known.push_back(theirs);
    for (const auto& [key, value] : from.items()) {
      const auto found = std::find(known.begin(), known.end(), key);
      if (found == known.end()) {
        throw Error(Exit::config,
                    name + ": unknown key " + section + "." + key + "; did you mean '" + nearest(key, known) + "'?");
      }
      const auto& [part, ours] = names[static_cast<size_t>(found - known.begin())].second;
      if (!ours.empty()) out[part][ours] = value;
    }
  };
  const auto section = [&](const char* key) { return in.value(key, json::object()); };
  auto model = section("waveglow_config");
  const auto wavenet = model.value("WN_config", json::object());
  model.erase("WN_config");
  move(model, "waveglow_config",
       {{"n_mel_channels", {"model", "n_mels"}},
        {"n_flows", {"model", "n_flows"}},
        {"n_group", {"model", "group_size"}},
        {"n_early_every", {"model", "early_every"}},
        {"n_early_size", {"model", "early_size"}}});
  move(wavenet, "waveglow_config.WN_config",
       {{"n_layers", {"model", "wavenet_layers"}},
        {"n_channels", {"model", "wavenet_channels"}},
        {"kernel_size", {"model", "wavenet_kernel"}}});
  move(section("data_config"), "data_config",
       {{"training_files", {"", ""}},
        {"segment_length", {"train", "segment_samples"}},
        {"max_wav_value", {"", ""}},
        {"sampling_rate", {"mel", "sample_rate"}},
        {"filter_length", {"mel", "n_fft"}},
        {"hop_length", {"mel", "hop_length"}},
        {"win_length", {"mel", "win_length"}},
        {"mel_fmin", {"mel", "f_min"}},
        {"mel_fmax", {"mel", "f_max"}}});
  move(section("train_config"), "train_config",
       {{"fp16_run", {"", ""}},
        {"output_directory", {"", ""}},
        {"epochs", {"", ""}},
        {"learning_rate", {"train", "learning_rate"}},
        {"sigma", {"", ""}},
        {"iters_per_checkpoint", {"train", "checkpoint_every"}},
        {"batch_size", {"train", "batch_size"}},
        {"seed", {"train", "seed"}},
        {"checkpoint_path", {"", ""}},
        {"with_tensorboard", {"", ""}}});
  for (const auto& [key, value] : in.items()) {
    const std::vector<std::string> sections{"waveglow_config", "data_config", "train_config", "dist_config"};
    if (std::find(sections.begin(), sections.end(), key) == sections.end()) {
      throw Error(Exit::config,
                  name + ": unknown section '" + key + "'; did you mean '" + nearest(key, sections) + "'?");
    }
  }
  const auto hop = out["mel"].value("hop_length", 256);
  if (out["train"].contains("segment_samples") && hop > 0) {
    out["train"]["segment_frames"] = out["train"]["segment_samples"].get<int64_t>() / hop;
    out["train"].erase("segment_samples");
  }
  if (out["model"].contains("n_mels")) out["mel"]["n_mels"] = out["model"]["n_mels"];
  out["model"]["hop_length"] = hop;
  out["model"]["upsample_kernel"] = 4 * hop;
  return out;
}

void read_mel(audio::MelOptions& mel, const json& object, const std::string& name) {
  for (const auto& [key, value] : object.items()) {
    try {
      audio::set_mel_option(mel, key, value.is_string() ? value.get<std::string>() : value.dump());
    } catch (const Error& e) {
      throw Error(Exit::config, name + ": mel." + key + ": " + e.what());
    }
  }
}

/// "key=value" into the section it names; a value that is no JSON is text.
void apply(json& root, const std::string& set) {
  const auto equals = set.find('=');
  if (equals == std::string::npos) throw Error(Exit::usage, "--set " + set + ": write it as key=value");
  auto key = set.substr(0, equals);
  std::string part = "train";
  for (const std::string section : {"model.", "mel.", "train."}) {
    if (key.rfind(section, 0) == 0) {
      part = section.substr(0, section.size() - 1);
      key = key.substr(section.size());
      break;
    }
  }
  const auto text = set.substr(equals + 1);
  auto value = json::parse(text, nullptr, false);
  root[part][key] = value.is_discarded() ? json(text) : value;
}

}  // namespace

TrainConfig parse_train_config(const json& input, const std::vector<std::string>& sets, const std::string& name) {
  if (!input.is_object()) throw Error(Exit::config, name + ": no JSON object");
  json root = input.contains("waveglow_config") ? from_nvidia(input, name) : input;
  for (const auto& [key, value] : root.items()) {
    const std::vector<std::string> sections{"model", "mel", "train"};
    if (std::find(sections.begin(), sections.end(), key) == sections.end() || !value.is_object()) {
      throw Error(Exit::config,
                  name + ": unknown section '" + key + "'; did you mean '" + nearest(key, sections) + "'?");
    }
  }
  for (const auto& set : sets) apply(root, set);

  TrainConfig config;
  const auto train = root.value("train", json::object());
  Reader reader{train, name};
  train_fields(config, reader);
  for (const auto& [key, value] : train.items()) {
    if (std::find(reader.known.begin(), reader.known.end(), key) == reader.known.end()) {
      throw Error(Exit::config,
                  name + ": unknown key train." + key + "; did you mean '" + nearest(key, reader.known) + "'?");
    }
  }
  read_mel(config.mel, root.value("mel", json::object()), name);
  config.mel.validate();
  auto model = root.value("model", json::object());
  if (!model.contains("n_mels")) model["n_mels"] = config.mel.n_mels;
  if (!model.contains("hop_length")) model["hop_length"] = config.mel.hop_length;
  config.model = resolved_model_config(model, name);
  if (config.model.at("n_mels") != config.mel.n_mels || config.model.at("hop_length") != config.mel.hop_length) {
    throw Error(Exit::config, name + ": model.n_mels and model.hop_length must be those of the mel recipe");
  }
  if (config.batch_size == 0 || config.segment_frames == 0 || config.steps == 0) {
    throw Error(Exit::config, name + ": train.batch_size, segment_frames and steps must not be 0");
  }
  if (config.beta1 >= 1 || config.beta2 >= 1 || config.ema >= 1) {
    throw Error(Exit::config, name + ": train.beta1, beta2 and ema must be below 1");
  }
  return config;
}

json to_json(const TrainConfig& config) {
  Writer writer;
  train_fields(config, writer);
  json mel = json::object();
  for (const auto& [key, value] : audio::mel_options_as_text(config.mel)) {
    const auto parsed = json::parse(value, nullptr, false);
    mel[key] = parsed.is_discarded() ? json(value) : parsed;
  }
  return {{"model", config.model}, {"mel", mel}, {"train", writer.out}};
}

}  // namespace melflow::engine
