#include "engine/flow/registry.h"

#include <functional>

#include <torch/torch.h>

#include "engine/options_json.h"
#include "models/flow/act_norm.h"
#include "models/flow/chain.h"
#include "models/flow/logit.h"
#include "models/flow/standardised_context.h"
#include "models/glow.h"
#include "models/iaf.h"
#include "models/maf.h"
#include "models/nsf.h"
#include "models/planar.h"
#include "models/radial.h"
#include "models/real_nvp.h"

namespace melflow::engine {
namespace {

using models::Bijection;
using models::FlowShape;
using nlohmann::json;
using Make = std::function<std::shared_ptr<Bijection>()>;

/// A field larger than this is a mistake or an attack.
constexpr int64_t kLargestField = 1 << 16;

enum class Preprocess { none, standardise, logit };
std::span<const char* const> enum_names(Preprocess) {
  static constexpr const char* kNames[] = {"none", "standardise", "logit"};
  return kNames;
}

/// What the numbers of a context are.
enum class ContextOf {
  classes,  ///< an item's label, one-hot
  numbers,  ///< as they come from a table, which the flow brings to zero mean and unit variance first
};
std::span<const char* const> enum_names(ContextOf) {
  static constexpr const char* kNames[] = {"classes", "numbers"};
  return kNames;
}

/// What every flow has beside its system's own options.
struct Common {
  FlowShape shape;
  ContextOf context_of = ContextOf::classes;
  Preprocess preprocess = Preprocess::none;
  int64_t pixel_levels = 256;
  double logit_alpha = 0.01;
};

template <typename Visit>
void fields(Common& c, Visit&& visit) {
  visit("channels", c.shape.channels);
  visit("height", c.shape.height);
  visit("width", c.shape.width);
  visit("context", c.shape.context);
  visit("context_of", c.context_of);
  visit("preprocess", c.preprocess);
  visit("pixel_levels", c.pixel_levels);
  visit("logit_alpha", c.logit_alpha);
}

/// A system as read from a configuration: how to make it, what it costs, and its options written out.
struct Read {
  Make make;
  double weights;
  json options;
};

struct System {
  std::string name;
  std::function<Read(const FlowShape&, OptionReader&)> read;
};

template <typename Options>
System system_of(const std::string& name, std::shared_ptr<Bijection> (*make)(const FlowShape&, const Options&)) {
  return {name, [make](const FlowShape& shape, OptionReader& reader) {
            Options options;
            fields(options, reader);
            OptionWriter writer;
            fields(options, writer);
            return Read{[=] { return make(shape, options); }, weight_count(shape, options), writer.out};
          }};
}

/// A new flow is one line here.
const std::vector<System>& systems() {
  static const std::vector<System> all{
      system_of("planar", models::make_planar),      //
      system_of("radial", models::make_radial),      //
      system_of("real_nvp", models::make_real_nvp),  //
      system_of("glow", models::make_glow),          //
      system_of("maf", models::make_maf),            //
      system_of("iaf", models::make_iaf),            //
      system_of("nsf", models::make_nsf),            //
  };
  return all;
}

struct Parsed {
  Common common;
  Read system;
};

Parsed parse(const json& config, const std::string& name) {
  const auto& system = system_named_by(config, "glow", systems(), name);
  OptionReader reader{config, name, "model", kLargestField, {"system"}};
  Parsed parsed;
  fields(parsed.common, reader);
  parsed.system = system.read(parsed.common.shape, reader);
  reader.refuse_unknown();
  parsed.system.options["system"] = system.name;
  const auto& c = parsed.common;
  if (c.shape.image() && c.preprocess == Preprocess::standardise) {
    throw Error(Exit::config, name + ": model.preprocess=standardise is of rows; images take logit, or none");
  }
  const bool sensible =
      c.preprocess != Preprocess::logit || (c.pixel_levels > 0 && c.logit_alpha > 0 && c.logit_alpha < 0.5);
  if (!sensible) throw Error(Exit::config, name + ": model.pixel_levels must be positive, logit_alpha in (0, 0.5)");
  return parsed;
}

}  // namespace

std::vector<std::string> flow_systems() {
  std::vector<std::string> names;
  for (const auto& system : systems()) names.push_back(system.name);
  return names;
}

std::shared_ptr<models::Flow> build_flow(const json& config, const std::string& name, double most_weights) {
  const auto [c, system] = parse(config, name);
  if (system.weights > most_weights) {
    throw Error(Exit::config, name + ": the configured model has over " +
                                  std::to_string(static_cast<int64_t>(most_weights)) + " weights");
  }
  try {
    c.shape.validate();
    std::vector<std::shared_ptr<Bijection>> parts;
    if (c.preprocess == Preprocess::standardise) {
      parts.push_back(std::make_shared<models::Standardise>(c.shape.channels));
    } else if (c.preprocess == Preprocess::logit) {
      parts.push_back(std::make_shared<models::Logit>(static_cast<double>(c.pixel_levels), c.logit_alpha));
    }
    parts.push_back(system.make());
    std::shared_ptr<Bijection> whole = std::make_shared<models::Chain>(parts);
    if (c.shape.context > 0 && c.context_of == ContextOf::numbers) {
      whole = std::make_shared<models::StandardisedContext>(c.shape.context, whole);
    }
    return std::make_shared<models::Flow>(c.shape, whole);
  } catch (const c10::Error& e) {
    throw Error(Exit::config, name + ": " + e.what_without_backtrace());
  }
}

json resolved_flow_config(const json& config, const std::string& name) {
  auto parsed = parse(config, name);
  OptionWriter writer;
  fields(parsed.common, writer);
  writer.out.update(parsed.system.options);
  return writer.out;
}

namespace {

template <typename Part>
std::shared_ptr<Part> part_of(models::Flow& flow) {
  for (const auto& part : flow.modules()) {
    if (auto found = std::dynamic_pointer_cast<Part>(part)) return found;
  }
  return nullptr;
}

}  // namespace

bool is_of_pixels(const json& config) {
  return config.at("height") > 0 && config.value("preprocess", json()) == "logit";  // a run's own file may lack it
}

bool hears_numbers(const json& config) {
  return config.at("context") > 0 && config.value("context_of", "classes") == "numbers";
}

void fit_standardise(models::Flow& flow, const torch::Tensor& rows) {
  if (const auto layer = part_of<models::Standardise>(flow)) layer->fit(rows);
}

void fit_context(models::Flow& flow, const torch::Tensor& rows) {
  if (const auto layer = part_of<models::StandardisedContext>(flow)) layer->fit(rows);
}

torch::Tensor any_context(models::Flow& flow, int64_t count) {
  const auto width = flow.shape().context;
  if (width == 0) return {};
  const auto like = flow.parameters().front().options();
  if (const auto layer = part_of<models::StandardisedContext>(flow)) {
    return layer->from_standard(torch::randn({count, width}).to(like));
  }
  return torch::eye(width).index_select(0, torch::arange(count).remainder(width)).to(like);
}

double standardise_log_scale(models::Flow& flow) {
  const auto layer = part_of<models::Standardise>(flow);
  return layer ? layer->log_scale() : 0;
}

}  // namespace melflow::engine
