#include "engine/flow/flow_train_config.h"

#include "engine/flow/registry.h"
#include "engine/options_json.h"

namespace melflow::engine {
namespace {

using nlohmann::json;

template <typename Visit>
void train_fields(FlowTrainConfig& c, Visit&& visit) {
  loop_fields(c, visit);
  visit("batch_size", c.batch_size);
  visit("hold_out", c.hold_out);
  visit("anneal", c.anneal);
  visit("conditional", c.conditional);
}

json with_sets(const json& input, const std::vector<std::string>& sets, const std::string& name) {
  if (!input.is_object()) throw Error(Exit::config, name + ": no JSON object");
  json root = input;
  apply_sets(root, sets, {"train", "model", "data"}, name);
  return root;
}

template <typename Options>
void read_section(Options& options, const json& object, const std::string& name, const std::string& section) {
  OptionReader reader{object, name, section};
  fields(options, reader);
  reader.refuse_unknown();
}

void set_default(json& object, const char* key, const json& value) {
  if (!object.contains(key)) object[key] = value;
}

/// What the data says about the model.
void fit_model(json& model, const FlowData& data, bool conditional, const std::string& name) {
  const bool complete = model.contains("channels");  // as a run stores it: what is not said there was not yet
  const auto shape = data.shape();
  const int64_t numbers = data.context.defined() ? data.context.size(1) : 0;
  const std::vector<std::pair<const char*, json>> told{{"channels", shape.channels},
                                                       {"height", shape.height},
                                                       {"width", shape.width},
                                                       {"context", conditional ? data.classes() : numbers},
                                                       {"context_of", numbers > 0 ? "numbers" : "classes"}};
  for (const auto& [key, value] : told) {
    set_default(model, key, value);
    if (model.at(key) != value) {
      throw Error(Exit::config,
                  name + ": model." + key + " is " + model.at(key).dump() + ", but the data's is " + value.dump());
    }
  }
  const char* front = shape.image() ? "logit" : data.x.defined() ? "standardise" : "none";
  set_default(model, "preprocess", front);
  const auto defaults = resolved_flow_config({{"system", model.value("system", json("glow"))}}, name);
  constexpr double kHeard = 8;  // standard deviations: 5 costs a flow that mixes by a matrix, 10 keeps some far rows
  if (defaults.contains("input_limit") && !complete && model.at("preprocess") == "standardise")
    set_default(model, "input_limit", kHeard);
  if (defaults.contains("closed")) set_default(model, "closed", data.energy != nullptr ? "sampling" : "density");
}

/// A class that nothing is of would never be learned, and be drawn from all the same.
void require_no_gaps(const FlowData& data, const std::string& name) {
  const auto absent = (torch::bincount(data.labels) == 0).nonzero();
  if (absent.numel() == 0) return;
  throw Error(Exit::bad_data, name + ": its largest label is " + std::to_string(data.classes() - 1) +
                                  ", but nothing has label " + std::to_string(absent[0].item<int64_t>()) +
                                  "; number the classes from 0, without gaps");
}

/// Rows whose logit is to be taken as they are; pixels are looked at where they get their noise.
void require_logits(const json& model, const FlowData& data) {
  if (model.at("preprocess") != "none" && !data.x.defined()) {
    throw Error(Exit::config, data.name + ": model.preprocess=" + model.at("preprocess").get<std::string>() +
                                  " is of files; a named distribution is as it is");
  }
  if (model.at("preprocess") != "logit" || data.x.dim() != 2) return;
  const auto levels = model.at("pixel_levels").get<int64_t>();
  const auto fits = [&](const torch::Tensor& x) {
    return x.numel() == 0 || (x.min().item<double>() >= 0 && x.max().item<double>() <= static_cast<double>(levels));
  };
  const bool own = fits(data.x.narrow(0, 0, data.own_items()));
  if (own && fits(data.x.narrow(0, data.own_items(), data.validation_items))) return;
  throw Error(Exit::config, (own ? data.validation_name : data.name) +
                                ": model.preprocess=logit is of numbers from 0 to model.pixel_levels, " +
                                std::to_string(levels) + "; rows are standardised");
}

}  // namespace

FlowTrainConfig::FlowTrainConfig() {
  steps = 3000;
  learning_rate = 3e-3;
  warmup_steps = 50;
  beta2 = 0.999;
  gradient_clip = 5;
  ema = 0;
  validation_every = 200;
  checkpoint_every = 1000;
  sample_every = 0;
}

FlowDataOptions parse_flow_data(const json& input, const std::vector<std::string>& sets, const std::string& name) {
  FlowDataOptions data;
  const auto section = with_sets(input, sets, name).value("data", json::object());
  read_section(data, section, name, "data");
  if (data.path.empty()) throw Error(Exit::config, name + ": data.path (--data) is missing");
  return data;
}

FlowTrainConfig parse_flow_config(const json& input, const std::vector<std::string>& sets, const FlowData& data,
                                  const std::string& name) {
  auto root = with_sets(input, sets, name);
  FlowTrainConfig config;
  read_section(config.data, root.value("data", json::object()), name, "data");
  auto train = root.value("train", json::object());
  const bool from_file = data.x.defined();
  const bool own_file = data.validation_items > 0;
  if (own_file) set_default(train, "hold_out", 0);
  const bool validates =
      train.value("validation_every", json(1)) != 0 && (own_file || train.value("hold_out", json(1)) != 0);
  set_default(train, "patience", from_file && validates ? 10 : 0);
  OptionReader reader{train, name, "train"};
  train_fields(config, reader);
  reader.refuse_unknown();
  config.validate(name);
  if (own_file && config.hold_out != 0) {
    throw Error(Exit::config, name +
                                  ": train.hold_out keeps items out for validation, and data.validation (--validation) "
                                  "names a file of them; leave one out (--set hold_out=0)");
  }
  if (from_file && !own_file && config.hold_out == 0 && (config.patience > 0 || config.schedule == Schedule::plateau)) {
    throw Error(Exit::config, name +
                                  ": train.patience and the schedule plateau go by what is held out, and "
                                  "train.hold_out is 0; give a share, or --set patience=0");
  }
  if (config.batch_size == 0 || config.hold_out >= 1 || config.conditional > 1) {
    throw Error(Exit::config, name + ": train.batch_size must not be 0, hold_out below 1, conditional 0 or 1");
  }
  if (config.anneal > 1) {
    throw Error(Exit::config, name + ": train.anneal is a share of the steps, 0 to 1");
  }
  if (config.conditional == 1 && data.classes() == 0) {
    throw Error(Exit::config, name +
                                  ": train.conditional (--conditional) needs labels: --labels FILE, or --label-column "
                                  "first or last (data.labels, data.label_column)");
  }
  if (config.conditional == 0 && !config.data.labels.empty()) {
    throw Error(Exit::config, name + ": --labels (data.labels) means nothing without --conditional");
  }
  if (config.conditional == 1 && data.context.defined()) {
    throw Error(Exit::config, name +
                                  ": --conditional is on labels, --context and --context-columns on numbers; give one "
                                  "(labels can be columns of a context, one-hot)");
  }
  if (config.conditional == 1) require_no_gaps(data, config.data.labels.empty() ? data.name : config.data.labels);
  auto model = root.value("model", json::object());
  fit_model(model, data, config.conditional == 1, name);
  config.model = resolved_flow_config(model, name);
  if (config.model.value("norm", "") == "batch_norm") {
    if (data.energy != nullptr) {
      throw Error(Exit::config,
                  name + ": model.norm=batch_norm takes means and variances from data, and an energy has none");
    }
    if (!data.shape().image() && config.batch_size < 2) {
      throw Error(Exit::config, name + ": model.norm=batch_norm wants a train.batch_size of 2 or more");
    }
  }
  require_logits(config.model, data);
  return config;
}

json to_json(const FlowTrainConfig& config) {
  auto copy = config;
  OptionWriter train, data;
  train_fields(copy, train);
  fields(copy.data, data);
  return {{"model", config.model}, {"data", data.out}, {"train", train.out}};
}

}  // namespace melflow::engine
