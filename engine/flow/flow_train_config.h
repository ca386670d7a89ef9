#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/flow/flow_data.h"
#include "engine/train/loop_options.h"

namespace melflow::engine {

/// What the training of a flow is made of. JSON {"model": {…}, "data": {…}, "train": {…}}; every key has a default.
struct FlowTrainConfig : LoopOptions {
  FlowTrainConfig();  ///< the loop's defaults for small flows

  nlohmann::json model;  ///< resolved; registry.h
  FlowDataOptions data;
  int64_t batch_size = 256;
  double hold_out = 0.1;  ///< share of the items kept out for validation, drawn by the seed
  /// Reverse KL only: the energy's weight rises from 0.01 to 1 over this share of the steps, so that the flow finds all
  /// of the mass before it settles.
  double anneal = 0.4;
  int64_t conditional = 0;  ///< 1: the flow depends on the item's label
};

/// Reads `data.shape()` and the number of classes, or of a context's numbers, into the model, fits the rest to what
/// kind of data it is where the configuration does not say: files get patience 10, toys none; pixels a logit, rows are
/// standardised; flows that are closed in one direction get the one that training needs. `sets` are "key=value"
/// overrides: train keys by their names, "model.KEY" and "data.KEY". Throws Error{config}.
FlowTrainConfig parse_flow_config(const nlohmann::json& json, const std::vector<std::string>& sets,
                                  const FlowData& data, const std::string& name);
/// The data section alone, which must be known before the data can be loaded.
FlowDataOptions parse_flow_data(const nlohmann::json& json, const std::vector<std::string>& sets,
                                const std::string& name);
nlohmann::json to_json(const FlowTrainConfig& config);

}  // namespace melflow::engine
