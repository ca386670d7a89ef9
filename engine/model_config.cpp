#include "engine/model_config.h"

#include <functional>
#include <set>
#include <variant>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/nearest.h"
#include "models/block_flow.h"
#include "models/waveglow.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

/// Visits every field of a system's options by its name in the configuration.
template <typename Visit>
void fields(models::WaveGlowOptions& o, Visit&& visit) {
  visit("n_mels", o.n_mels);
  visit("hop_length", o.hop_length);
  visit("n_flows", o.n_flows);
  visit("group_size", o.group_size);
  visit("early_every", o.early_every);
  visit("early_size", o.early_size);
  visit("upsample_kernel", o.upsample_kernel);
  visit("conditioning", o.conditioning);
  visit("context_channels", o.context_channels);
  visit("wavenet_layers", o.wavenet_layers);
  visit("wavenet_channels", o.wavenet_channels);
  visit("wavenet_kernel", o.wavenet_kernel);
  visit("wavenet_dilation_cycle", o.wavenet_dilation_cycle);
  visit("swap_odd_halves", o.swap_odd_halves);
}

template <typename Visit>
void fields(models::BlockFlowOptions& o, Visit&& visit) {
  visit("n_mels", o.n_mels);
  visit("hop_length", o.hop_length);
  visit("group_size", o.group_size);
  visit("filter_taps", o.filter_taps);
  visit("cepstrum", o.cepstrum);
  visit("encoder_channels", o.encoder_channels);
  visit("hidden", o.hidden);
  visit("layers", o.layers);
  visit("past", o.past);
  visit("lags", o.lags);
  visit("correlation", o.correlation);
  visit("context_noise", o.context_noise);
}

/// A model larger than this is a mistake or an attack: the count is refused before anything is allocated.
constexpr int64_t kLargestField = 1 << 16;

struct Reader {
  const json& config;
  const std::string& name;
  std::vector<std::string> known{"system"};

  const json* find(const char* key) {
    known.emplace_back(key);
    const auto found = config.find(key);
    return found == config.end() ? nullptr : &*found;
  }
  [[noreturn]] void refuse(const char* key, const std::string& want) const {
    throw Error(Exit::config, name + ": model." + key + " is " + config.at(key).dump() + "; it must be " + want);
  }
  void operator()(const char* key, int64_t& field) {
    const auto* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<int64_t>() < 0 || value->get<int64_t>() > kLargestField) {
      refuse(key, "a whole number from 0 to " + std::to_string(kLargestField));
    }
    field = value->get<int64_t>();
  }
  void operator()(const char* key, bool& field) {
    const auto* value = find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) refuse(key, "true or false");
    field = value->get<bool>();
  }
  void operator()(const char* key, double& field) {
    const auto* value = find(key);
    if (value == nullptr) return;
    if (!value->is_number()) refuse(key, "a number");
    field = value->get<double>();
  }
  void operator()(const char* key, models::Conditioning& field) {
    const auto* value = find(key);
    if (value == nullptr) return;
    if (*value == "sample_rate") {
      field = models::Conditioning::sample_rate;
    } else if (*value == "frame_rate") {
      field = models::Conditioning::frame_rate;
    } else {
      refuse(key, "\"sample_rate\" or \"frame_rate\"");
    }
  }
  void refuse_unknown() const {
    for (const auto& [key, value] : config.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        throw Error(Exit::config,
                    name + ": unknown key model." + key + "; did you mean '" + nearest(key, known) + "'?");
      }
    }
  }
};

struct Writer {
  json out;
  void operator()(const char* key, int64_t field) { out[key] = field; }
  void operator()(const char* key, double field) { out[key] = field; }
  void operator()(const char* key, bool field) { out[key] = field; }
  void operator()(const char* key, models::Conditioning field) {
    out[key] = field == models::Conditioning::sample_rate ? "sample_rate" : "frame_rate";
  }
};

struct System {
  std::string name;
  std::function<std::shared_ptr<models::Vocoder>(const json&, const std::string&, double)> build;
  std::function<json(const json&, const std::string&)> resolve;
};

template <typename Options>
Options read_options(const json& config, const std::string& name) {
  Options options;
  Reader reader{config, name};
  fields(options, reader);
  reader.refuse_unknown();
  try {
    options.validate();
  } catch (const c10::Error& e) {
    throw Error(Exit::config, name + ": " + e.what_without_backtrace());
  }
  return options;
}

template <typename Options, typename Model>
System system_of(const std::string& system) {
  return {system,
          [](const json& config, const std::string& name, double most) -> std::shared_ptr<models::Vocoder> {
            const auto options = read_options<Options>(config, name);
            if (options.weight_count() > most) {
              throw Error(Exit::config, name + ": the configured model has over " +
                                            std::to_string(static_cast<int64_t>(most)) + " weights");
            }
            return std::make_shared<Model>(options);
          },
          [system](const json& config, const std::string& name) {
            auto options = read_options<Options>(config, name);
            Writer writer;
            writer.out["system"] = system;
            fields(options, writer);
            return writer.out;
          }};
}

const std::vector<System>& systems() {
  static const std::vector<System> all{system_of<models::WaveGlowOptions, models::WaveGlow>("waveglow"),
                                       system_of<models::BlockFlowOptions, models::BlockFlow>("block_flow")};
  return all;
}

const System& system_named_by(const json& config, const std::string& name) {
  if (!config.is_object()) throw Error(Exit::config, name + ": the model's configuration is no JSON object");
  std::vector<std::string> names;
  for (const auto& system : systems()) names.push_back(system.name);
  const auto wanted = config.value("system", json("waveglow"));
  for (const auto& system : systems()) {
    if (wanted == system.name) return system;
  }
  throw Error(Exit::config, name + ": model.system is " + wanted.dump() + "; the nearest that exists is '" +
                                nearest(wanted.is_string() ? wanted.get<std::string>() : "", names) + "'");
}

}  // namespace

std::shared_ptr<models::Vocoder> build_vocoder(const json& config, const std::string& name, double most_weights) {
  return system_named_by(config, name).build(config, name, most_weights);
}

json resolved_model_config(const json& config, const std::string& name) {
  return system_named_by(config, name).resolve(config, name);
}

}  // namespace melflow::engine
