#pragma once

#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "models/vocoder.h"

namespace melflow::engine {

/// The one place that knows every vocoder by name: {"system": "waveglow", "n_flows": 12, …} ↔ the model.
/// Keys that are left out keep their defaults. Throws Error{config} that names an unknown key and its nearest name, or
/// a value that makes no sense; `name` says whose configuration it is.
/// A model of more than `most_weights` numbers is refused before anything is allocated.
std::shared_ptr<models::Vocoder> build_vocoder(const nlohmann::json& config, const std::string& name,
                                               double most_weights = 1e9);

/// The same configuration with every key written out.
nlohmann::json resolved_model_config(const nlohmann::json& config, const std::string& name);

}  // namespace melflow::engine
