#include "engine/model_options.h"

#include <span>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/files/float_tensors.h"
#include "engine/files/shown_name.h"
#include "engine/options_json.h"

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

constexpr const char* name_of(const models::WaveGlowOptions&) { return "waveglow"; }
constexpr const char* name_of(const models::BlockFlowOptions&) { return "block_flow"; }

/// A model larger than this is a mistake or an attack: the count is refused before anything is allocated.
constexpr int64_t kLargestField = 1 << 16;

template <typename Options>
ModelOptions read_options(const json& config, const std::string& name) {
  Options options;
  OptionReader reader{config, name, "model", kLargestField, {"system"}};
  fields(options, reader);
  reader.refuse_unknown();
  try {
    options.validate();
  } catch (const std::invalid_argument& e) {
    throw Error(Exit::config, name + ": " + e.what());
  }
  return options;
}

struct System {
  std::string name;
  ModelOptions (*read)(const json&, const std::string&);
};

template <typename... Options>
std::vector<System> systems(const std::variant<Options...>*) {
  return {{name_of(Options{}), read_options<Options>}...};
}

/// Throws Error{bad_data} where the tensor is not of real numbers.
bool all_finite(const files::TensorView& tensor, const std::string& name) {
  if (tensor.dtype == files::Dtype::f32) return files::all_finite(tensor);
  const auto values = files::as_float32(tensor, name);
  return files::all_finite({files::Dtype::f32, tensor.shape, std::as_bytes(std::span(values))});
}

}  // namespace

ModelOptions parse_model_options(const json& config, const std::string& name) {
  const auto all = systems(static_cast<const ModelOptions*>(nullptr));
  return system_named_by(config, "waveglow", all, name).read(config, name);
}

json model_config(const ModelOptions& options) {
  return std::visit(
      [](auto o) {
        OptionWriter writer;
        writer.out["system"] = name_of(o);
        fields(o, writer);
        return writer.out;
      },
      options);
}

json resolved_model_config(const json& config, const std::string& name) {
  return model_config(parse_model_options(config, name));
}

models::WaveGlowOptions waveglow_options(const files::PublishedWaveGlow& published) {
  models::WaveGlowOptions o;
  o.n_mels = published.n_mels;
  o.hop_length = published.hop_length;
  o.n_flows = published.n_flows;
  o.group_size = published.group_size;
  o.early_every = published.early_every;
  o.early_size = published.early_size;
  o.upsample_kernel = published.upsample_kernel;
  o.wavenet_layers = published.wavenet_layers;
  o.wavenet_channels = published.wavenet_channels;
  o.wavenet_kernel = published.wavenet_kernel;
  o.swap_odd_halves = published.swap_odd_halves;
  return o;
}

int64_t n_mels(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.n_mels; }, options);
}
int64_t hop_length(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.hop_length; }, options);
}
int64_t group_size(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.group_size; }, options);
}
models::Reach reach(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.reach(); }, options);
}

int64_t first_sample_frames(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.first_sample_frames(); }, options);
}

int64_t frames_behind(const ModelOptions& options, int64_t delay) { return delay + (reach(options).endless ? 0 : 1); }

bool chooses_draws(const ModelOptions& options) { return std::holds_alternative<models::BlockFlowOptions>(options); }

double weight_count(const ModelOptions& options) {
  return std::visit([](const auto& o) { return o.weight_count(); }, options);
}

void require_weights(const ModelOptions& options, double most, const std::string& name) {
  if (weight_count(options) <= most) return;
  throw Error(Exit::config,
              name + ": the configured model has over " + std::to_string(static_cast<int64_t>(most)) + " weights");
}

void require_tensors(const std::map<std::string, files::TensorView>& tensors, const models::TensorShapes& wanted,
                     const std::string& name) {
  const auto refuse = [&](const std::string& key, const std::string& what) {
    throw Error(Exit::bad_data, name + ": tensor '" + key + "' " + what);
  };
  for (const auto& [key, shape] : wanted) {
    const auto found = tensors.find(key);
    if (found == tensors.end()) refuse(key, "is missing");
    if (found->second.shape != shape.sizes) {
      refuse(key, "has shape " + files::shape_text(found->second.shape) + ", not " + files::shape_text(shape.sizes));
    }
    if (!all_finite(found->second, name + ": tensor '" + key + "'")) refuse(key, "holds NaN or infinity");
    files::let_go(found->second.bytes);
  }
  for (const auto& [key, view] : tensors) {
    if (!wanted.contains(key)) refuse(key, "does not belong to this model");
  }
}

}  // namespace melflow::engine
