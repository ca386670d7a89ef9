#include "engine/train/config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "audio/refine.h"
#include "base/error.h"
#include "base/nearest.h"
#include "engine/files/mel_file.h"
#include "engine/model_options.h"
#include "engine/noise.h"
#include "engine/options_json.h"
#include "engine/voice.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

template <typename Visit>
void fields(TrainConfig& c, Visit&& visit) {
  loop_fields(c, visit);
  visit("batch_size", c.batch_size);
  visit("segment_frames", c.segment_frames);
  visit("reversible", c.reversible);
  visit("precision", c.precision);
  visit("level", c.level);
  visit("dequantise", c.dequantise);
  visit("augment", c.augment.share);
  visit("augment_speed", c.augment.speed);
  visit("augment_gain_db", c.augment.gain_db);
  visit("augment_equaliser_db", c.augment.equaliser_db);
  visit("augment_noise", c.augment.noise);
  visit("hold_out_every", c.hold_out_every);
  visit("shuffle_mb", c.shuffle_mb);
  visit("data_workers", c.data_workers);
  visit("mels", c.mels);
  visit("sigma", c.sigma);
  visit("draws", c.draws);
  visit("refine", c.refine);
  visit("name", c.name);
  visit("licence", c.licence);
  visit("training_data", c.training_data);
}

/// A key of NVIDIA's, and where its value goes: our section and our key, or nowhere where that is "".
struct Renamed {
  const char *theirs, *section, *ours;
};

// waveglow/config.json of NVIDIA's repository, a list a section.
constexpr Renamed kNvidiaModel[] = {{"n_mel_channels", "model", "n_mels"},
                                    {"n_flows", "model", "n_flows"},
                                    {"n_group", "model", "group_size"},
                                    {"n_early_every", "model", "early_every"},
                                    {"n_early_size", "model", "early_size"}};
constexpr Renamed kNvidiaWaveNet[] = {{"n_layers", "model", "wavenet_layers"},
                                      {"n_channels", "model", "wavenet_channels"},
                                      {"kernel_size", "model", "wavenet_kernel"}};
constexpr Renamed kNvidiaData[] = {{"training_files", "", ""},          {"segment_length", "train", "segment_samples"},
                                   {"max_wav_value", "", ""},           {"sampling_rate", "mel", "sample_rate"},
                                   {"filter_length", "mel", "n_fft"},   {"hop_length", "mel", "hop_length"},
                                   {"win_length", "mel", "win_length"}, {"mel_fmin", "mel", "f_min"},
                                   {"mel_fmax", "mel", "f_max"}};
constexpr Renamed kNvidiaTrain[] = {{"fp16_run", "", ""},
                                    {"output_directory", "", ""},
                                    {"epochs", "", ""},
                                    {"learning_rate", "train", "learning_rate"},
                                    {"sigma", "", ""},
                                    {"iters_per_checkpoint", "train", "checkpoint_every"},
                                    {"batch_size", "train", "batch_size"},
                                    {"seed", "train", "seed"},
                                    {"checkpoint_path", "", ""},
                                    {"with_tensorboard", "", ""}};

/// Copies what `from`, the section `section` of NVIDIA's file, holds to its places in `out`. Throws Error{config} for a
/// key that is not among `names`.
void move_renamed(const json& from, const std::string& section, std::span<const Renamed> names, const std::string& name,
                  json& out) {
  for (const auto& [key, value] : from.items()) {
    const auto found = std::find_if(names.begin(), names.end(), [&](const Renamed& r) { return key == r.theirs; });
    if (found == names.end()) {
      std::vector<std::string> known;
      for (const auto& renamed : names) known.emplace_back(renamed.theirs);
      throw Error(Exit::config, name + ": unknown key " + section + "." + key + suggestion(key, known));
    }
    if (*found->ours != '\0') out[found->section][found->ours] = value;
    // By these theirs trains something else.
    if (key == "sigma" && value != 1)
      throw Error(Exit::config, name + ": " + section + ".sigma is " + value.dump() + "; ours is the likelihood, 1");
    if (key == "checkpoint_path" && value != "")
      throw Error(Exit::config,
                  name + ": " + section + ".checkpoint_path: leave it empty, and say --init " + value.dump());
  }
}

void refuse_unknown_sections(const json& in, const std::string& name) {
  const std::vector<std::string> sections{"waveglow_config", "data_config", "train_config", "dist_config"};
  for (const auto& [key, value] : in.items()) {
    if (std::find(sections.begin(), sections.end(), key) != sections.end()) continue;
    throw Error(Exit::config, name + ": unknown section '" + key + "'" + suggestion(key, sections));
  }
}

constexpr int64_t kMostBatch = 65536;              // crops, all of which are in memory at once
constexpr int64_t kMostFrames = int64_t{1} << 20;  // of a crop: hours
constexpr int64_t kMostHop = int64_t{1} << 16;     // samples

/// NVIDIA's configuration in our words, with what its file leaves to the code.
json from_nvidia(const json& in, const std::string& name) {
  json out{{"model", {{"system", "waveglow"}}}, {"mel", json::object()}, {"train", json::object()}};
  const auto section = [&](const json& from, const char* key) {
    auto found = from.value(key, json::object());
    if (!found.is_object()) throw Error(Exit::config, name + ": " + key + " is no object");
    return found;
  };
  auto model = section(in, "waveglow_config");
  const auto wavenet = section(model, "WN_config");
  model.erase("WN_config");
  move_renamed(model, "waveglow_config", kNvidiaModel, name, out);
  move_renamed(wavenet, "waveglow_config.WN_config", kNvidiaWaveNet, name, out);
  move_renamed(section(in, "data_config"), "data_config", kNvidiaData, name, out);
  move_renamed(section(in, "train_config"), "train_config", kNvidiaTrain, name, out);
  refuse_unknown_sections(in, name);
  const auto whole = [&](const char* key, const json& value, int64_t most) {
    const bool good = value.is_number_integer() && value > 0 && value <= most;
    if (!good)
      throw Error(Exit::config, name + ": data_config." + key + " is " + value.dump() + ", no number of samples");
    return value.get<int64_t>();
  };
  const auto hop = whole("hop_length", out["mel"].value("hop_length", json(256)), kMostHop);
  if (out["train"].contains("segment_samples")) {
    const auto segment = whole("segment_length", out["train"]["segment_samples"], kMostFrames * hop);
    out["train"]["segment_frames"] = segment / hop;
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

/// Throws Error{config} for a number that no training can have.
void require_ranges(const TrainConfig& c, const std::string& name) {
  struct Range {
    const char* key;
    double value, least, most;
    const char* why = "";
  };
  const bool chooses = chooses_draws(parse_model_options(c.model, name));
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  for (const auto& r : std::initializer_list<Range>{
           {"batch_size", number(c.batch_size), 1, number(kMostBatch), "; train.accumulate makes larger ones"},
           {"segment_frames", number(c.segment_frames), 1, number(kMostFrames)},
           {"sigma", c.sigma, 0, kMostScale},
           {"level", c.level, 0, kMostScale},
           {"augment", c.augment.share, 0, 1},
           {"augment_speed", c.augment.speed, 0, 1},
           {"augment_gain_db", c.augment.gain_db, 0, 40},
           {"augment_equaliser_db", c.augment.equaliser_db, 0, 20},
           {"augment_noise", c.augment.noise, 0, 1},
           {"data_workers", number(c.data_workers), 0, 256},
           {"shuffle_mb", number(c.shuffle_mb), 0, number(int64_t{1} << 30)},
           {"draws", number(c.draws), 1, chooses ? number(kMostDraws) : 1,
            chooses ? "" : "; a model of the system block_flow chooses among several"},
           {"refine", number(c.refine), 0, number(audio::RefineOptions::kMostPasses)}}) {
    if (r.value >= r.least && r.value <= r.most) continue;
    const auto shown = [](double x) {
      const bool whole = std::abs(x) < 1e15 && x == std::floor(x);
      return (whole ? json(std::llround(x)) : json(x)).dump();
    };
    const auto wanted = r.most == r.least ? shown(r.least) : "from " + shown(r.least) + " to " + shown(r.most);
    throw Error(Exit::config, name + ": train." + r.key + " is " + shown(r.value) + "; it must be " + wanted + r.why);
  }
}

}  // namespace

std::span<const char* const> enum_names(TrainPrecision) {
  static constexpr const char* kNames[] = {"fp32", "bf16"};
  return kNames;
}

TrainConfig parse_train_config(const json& input, const std::vector<std::string>& sets, const std::string& name) {
  if (!input.is_object()) throw Error(Exit::config, name + ": no JSON object");
  json root = input.contains("waveglow_config") ? from_nvidia(input, name) : input;
  apply_sets(root, sets, {"train", "model", "mel"}, name);

  TrainConfig config;
  const auto train = root.value("train", json::object());
  OptionReader reader{train, name, "train"};
  fields(config, reader);
  reader.refuse_unknown();
  read_mel(config.mel, root.value("mel", json::object()), name);
  config.mel.validate();
  auto model = root.value("model", json::object());
  if (!model.contains("n_mels")) model["n_mels"] = config.mel.n_mels;
  if (!model.contains("hop_length")) model["hop_length"] = config.mel.hop_length;
  config.model = resolved_model_config(model, name);
  if (config.model.at("n_mels") != config.mel.n_mels || config.model.at("hop_length") != config.mel.hop_length) {
    throw Error(Exit::config, name + ": model.n_mels and model.hop_length must be those of the mel recipe");
  }
  require_ranges(config, name);
  if (config.mels && config.augment.any()) {
    throw Error(Exit::config, name +
                                  ": train.mels takes the mels that lie beside recordings, which do not change as "
                                  "crops do; set augment=0, or mels=false to have them computed");
  }
  config.validate(name);
  return config;
}

json to_json(const TrainConfig& config) {
  auto copy = config;
  OptionWriter writer;
  fields(copy, writer);
  return {{"model", config.model}, {"mel", json::parse(files::recipe_as_json(config.mel))}, {"train", writer.out}};
}

}  // namespace melflow::engine
