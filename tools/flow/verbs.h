#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "engine/flow/flow_data.h"
#include "engine/flow/flow_file.h"

namespace melflow::tools {

int run_flow_train(CLI::App& app, std::vector<std::string> arguments);
int run_flow_eval(CLI::App& app, std::vector<std::string> arguments);
int run_flow_sample(CLI::App& app, std::vector<std::string> arguments);
int run_flow_bench(CLI::App& app, std::vector<std::string> arguments);
int run_flow_plot(CLI::App& app, std::vector<std::string> arguments);

/// What the verbs that use a trained flow have in common.
struct FlowUse {
  std::string flow, data, labels, label_column, context, device = "cpu";
  int64_t context_columns = 0;
  uint64_t seed = 0;
  int threads = 0;

  void add_to(CLI::App& app);
  /// The labels and the context of --data, for verbs that take it.
  void add_conditions_to(CLI::App& app);
  /// The flow, on its device.
  engine::FlowModel load() const;
  /// The data, its rows taken as images where the flow is one of images. Throws as require_fit() does.
  engine::FlowData load_data(const engine::FlowModel& model) const;
};

}  // namespace melflow::tools
