#include "engine/model_config.h"

#include <functional>
#include <span>
#include <vector>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "audio/error.h"
#include "audio/nearest.h"
#include "engine/options_json.h"
#include "models/block_flow.h"
#include "models/waveglow.h"

namespace melflow::models {

static std::span<const char* const> enum_names(Conditioning) {
  static constexpr const char* kNames[] = {"sample_rate", "frame_rate"};
  return kNames;
}

}  // namespace melflow::models

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

struct System {
  std::string name;
  std::function<std::shared_ptr<models::Vocoder>(const json&, const std::string&, double)> build;
  std::function<json(const json&, const std::string&)> resolve;
};

template <typename Options>
Options read_options(const json& config, const std::string& name) {
  Options options;
  OptionReader reader{config, name, "model", kLargestField, {"system"}};
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
            OptionWriter writer;
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
