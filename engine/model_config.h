#pragma once

#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/model_options.h"
#include "models/vocoder.h"

namespace melflow::engine {

/// A new model of these sizes.
std::shared_ptr<models::Vocoder> build_vocoder(const ModelOptions& options);

/// The same from a configuration (model_options.h). A model of more than `most_weights` numbers is refused before
/// anything is allocated.
std::shared_ptr<models::Vocoder> build_vocoder(const nlohmann::json& config, const std::string& name,
                                               double most_weights = 1e9);

/// What a model was built from.
ModelOptions options_of(const models::Vocoder& model);

}  // namespace melflow::engine
