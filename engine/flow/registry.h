#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/flow/flow.h"

namespace melflow::engine {

/// The one place that knows every flow of the family by name: {"system": "maf", "channels": 2, "layers": 5, …} ↔ the
/// model. Keys of every system: channels, height, width, context (models::FlowShape), "context_of": "classes" (one-hot)
/// or "numbers" (standardised by numbers that are fitted once), and what comes before the system: "preprocess": "none",
/// "standardise" (rows: each column to mean 0, variance 1, by numbers that are fitted once), or "logit" (pixels 0 …
/// pixel_levels - 1, logit_alpha; of rows, numbers from 0 to pixel_levels as they are). Keys that are left out keep
/// their defaults. Throws Error{config} that names an unknown key and its nearest name, or a value that makes no sense;
/// `name` says whose configuration it is. A model of more than `most_weights` numbers is refused before anything is
/// allocated.
std::shared_ptr<models::Flow> build_flow(const nlohmann::json& config, const std::string& name,
                                         double most_weights = 1e9);
/// The same configuration with every key written out.
nlohmann::json resolved_flow_config(const nlohmann::json& config, const std::string& name);
std::vector<std::string> flow_systems();

/// Whether a resolved configuration is of pixels, whole numbers that get noise before their logit and whose likelihood
/// is told in bits per dimension. Other images are numbers as they are, told in nats, as rows are.
bool is_of_pixels(const nlohmann::json& config);

/// Whether a resolved configuration has a context ("context_of") of numbers, rather than none or one of classes.
bool hears_numbers(const nlohmann::json& config);

/// Fits the model's standardising layer, where it has one, to rows [items, channels].
void fit_standardise(models::Flow& flow, const torch::Tensor& rows);
/// The same of the layer that standardises the context, [items, numbers].
void fit_context(models::Flow& flow, const torch::Tensor& rows);
/// `count` contexts such as the flow may have heard, [count, numbers]: of numbers by their means and deviations, drawn
/// by LibTorch's generator; of classes each in turn. Undefined where it hears nothing.
torch::Tensor any_context(models::Flow& flow, int64_t count);
/// Σ ln std of the standardising layer: what to add to nats of the data's units for nats of standardised ones. 0 where
/// there is none.
double standardise_log_scale(models::Flow& flow);

}  // namespace melflow::engine
