#include "engine/train/loop_options.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"

namespace melflow::engine {

using nlohmann::json;

std::span<const char* const> enum_names(Schedule) {
  static constexpr const char* kNames[] = {"linear", "cosine", "plateau"};
  return kNames;
}

void LoopOptions::validate(const std::string& name) const {
  if (steps == 0 || accumulate == 0 || log_every == 0) {
    throw Error(Exit::config, name + ": train.steps, accumulate and log_every must not be 0");
  }
  if (schedule == Schedule::plateau && (validation_every == 0 || plateau_patience == 0 || plateau_factor >= 1)) {
    throw Error(Exit::config, name +
                                  ": train.schedule \"plateau\" wants validation_every and plateau_patience above 0"
                                  " and plateau_factor below 1");
  }
  if (seed >> 32 != 0)
    throw Error(Exit::config, name + ": train.seed must be below 2^32: LibTorch hears no more of it");
  if (!(epsilon >= 1e-30)) throw Error(Exit::config, name + ": train.epsilon must be 1e-30 or more");
  if (beta1 >= 1 || beta2 >= 1 || ema >= 1) {
    throw Error(Exit::config, name + ": train.beta1, beta2 and ema must be below 1");
  }
  if (final_learning_rate > learning_rate) {
    throw Error(Exit::config, name + ": train.final_learning_rate is above learning_rate, from which it falls");
  }
  if (patience > 0 && validation_every == 0) {
    throw Error(Exit::config, name + ": train.patience counts validations; validation_every must not be 0");
  }
}

namespace {

void apply(json& root, const std::string& set, const std::vector<std::string>& sections) {
  const auto equals = set.find('=');
  if (equals == std::string::npos) throw Error(Exit::usage, "--set " + set + ": write it as key=value");
  auto key = set.substr(0, equals);
  std::string part;
  for (const auto& section : sections) {
    if (key.rfind(section + ".", 0) != 0) continue;
    part = section;
    key = key.substr(section.size() + 1);
    break;
  }
  if (const auto dot = key.find('.'); part.empty() && dot != std::string::npos) {
    const auto section = key.substr(0, dot);
    throw Error(Exit::config, "--set " + set + ": unknown section '" + section + "'" + suggestion(section, sections));
  }
  const auto text = set.substr(equals + 1);
  auto value = json::parse(text, nullptr, false);
  root[part.empty() ? sections.front() : part][key] = value.is_discarded() ? json(text) : value;
}

}  // namespace

void apply_sets(json& root, const std::vector<std::string>& sets, const std::vector<std::string>& sections,
                const std::string& name) {
  for (const auto& [key, value] : root.items()) {
    if (std::find(sections.begin(), sections.end(), key) == sections.end() || !value.is_object()) {
      throw Error(Exit::config, name + ": unknown section '" + key + "'" + suggestion(key, sections));
    }
  }
  for (const auto& set : sets) apply(root, set, sections);
}

void require_same_system(const json& root, const std::vector<std::string>& sets, const std::string& name) {
  const auto system = [](const json& of) {
    const auto model = of.is_object() ? of.value("model", json()) : json();
    const auto found = model.is_object() ? model.value("system", json()) : json();
    return found.is_string() ? found.get<std::string>() : std::string();
  };
  const auto before = system(root);
  if (before.empty()) return;
  auto changed = root;
  for (const auto& set : sets) apply(changed, set, {"train", "model", "data", "mel"});
  const auto after = system(changed);
  if (after == before) return;
  throw Error(Exit::config, name + ": its model is a " + before + " and cannot go on as '" + after +
                                "'; leave the system out, or begin a new run");
}

}  // namespace melflow::engine
