#include <cmath>
#include <cstdio>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/flow/flow_trainer.h"
#include "engine/flow/registry.h"
#include "tools/cli/inputs.h"
#include "tools/cli/options.h"
#include "tools/cli/progress.h"
#include "tools/cli/signals.h"
#include "tools/cli/with_torch.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

struct TrainArguments {
  std::string flow, data, labels, label_column, context, validation, out, config, device = "cpu";
  std::vector<std::string> sets;
  bool resume = false, conditional = false;
  int64_t context_columns = 0;
  int threads = 0;
};

TrainArguments train_arguments(CLI::App& app, std::vector<std::string> arguments) {
  TrainArguments a;
  app.add_option("--flow", a.flow, "kind of flow")->check(CLI::IsMember(engine::flow_systems()));
  app.add_option("--data", a.data, ".npy, .csv, idx (also .gz), or a named distribution: melflow flow --help");
  app.add_option("--labels", a.labels, "a file with a label for each item");
  app.add_option("--label-column", a.label_column, "first or last: the column of the table that is a label");
  app.add_option("--context", a.context, "a file with numbers for each item: learn a density for each row of them");
  app.add_option("--context-columns", a.context_columns, "that many first columns of the table are such numbers")
      ->check(CLI::Range(1, 65536));
  app.add_option("--validation", a.validation, "a file of such items for validation; else some of --data are kept out");
  app.add_flag("--conditional", a.conditional, "learn a density for each label");
  app.add_option("-o,--out", a.out, "folder of the run")->required()->check(run_folder());
  app.add_option("--config", a.config, "JSON as a run's config.json");
  app.add_option("--set", a.sets,
                 "key=value over the configuration: steps=1000, model.hidden=128, data.height=8; RUN/config.json lists "
                 "all keys");
  app.add_option("--device", a.device, "cpu or cuda; --resume may use the other");
  app.add_flag("--resume", a.resume, "go on with the run that is in --out");
  add_threads(app, a.threads);
  parse(app, std::move(arguments));
  // Options are settings that have a name of their own; --set comes after them and wins.
  std::vector<std::string> named;
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) named.push_back(std::string(key) + "=" + nlohmann::json(value).dump());
  };
  add("model.system", a.flow);
  add("data.path", a.data);
  add("data.labels", a.labels);
  add("data.label_column", a.label_column);
  add("data.context", a.context);
  if (a.context_columns > 0) named.push_back("data.context_columns=" + std::to_string(a.context_columns));
  add("data.validation", a.validation);
  if (a.conditional) named.push_back("train.conditional=1");
  a.sets.insert(a.sets.begin(), named.begin(), named.end());
  if (a.config.empty() && a.resume) a.config = engine::config_path(a.out).string();
  if (a.config.empty() && (a.flow.empty() || a.data.empty())) {
    throw CLI::RequiredError("--flow and --data, or --config");
  }
  return a;
}

}  // namespace

int run_flow_train(CLI::App& app, std::vector<std::string> arguments) {
  const auto a = train_arguments(app, std::move(arguments));
  use_threads(a.threads);
  const auto device = engine::open_device(a.device);
  const auto json = a.config.empty() ? nlohmann::json::object() : read_json(a.config);
  const auto name = a.config.empty() ? "--set" : a.config;
  if (a.resume) engine::require_same_system(json, a.sets, name);
  engine::RunFolder::require_free(a.out, a.resume);
  auto data = engine::load_flow_data(engine::parse_flow_data(json, a.sets, name));
  for (const auto& line : engine::doubtful_columns(data)) std::fprintf(stderr, "%s\n", one_line(line).c_str());
  const auto config = engine::parse_flow_config(json, a.sets, data, name);
  catch_signals(kAfterThisStep);
  const bool from_file = data.x.defined();
  engine::FlowTrainer trainer(config, std::move(data), a.out, a.resume, device);
  if (from_file && config.hold_out > 0 && trainer.held_out_items() == 0) {
    std::fprintf(stderr, "too few items to keep some out (train.hold_out): no validation, no early stopping\n");
  }
  tell_going_on(trainer.state().step, trainer.data_changed());
  const auto unit = trainer.unit();
  {
    ProgressLine line;
    trainer.run(stop_requested, [&](const engine::Progress& p) {
      char text[160];
      std::snprintf(text, sizeof text, "step %ld/%ld  %.4f %s  %.0f items/s  %s left", static_cast<long>(p.step),
                    static_cast<long>(p.steps), p.loss, unit.c_str(), p.items_per_second,
                    clock_text(p.seconds_left).c_str());
      line.show(text);
    });
  }
  const auto& state = trainer.state();
  const char* how = stop_requested() ? "stopped" : trainer.out_of_patience() ? "no better for long, stopped" : "done";
  std::fprintf(stderr, "%s at step %ld, %ld steps left out, %s", how, static_cast<long>(state.step),
               static_cast<long>(state.skipped_steps), clock_text(state.seconds).c_str());
  if (std::isfinite(state.best)) std::fprintf(stderr, ", best validation loss %.4f %s", state.best, unit.c_str());
  std::fprintf(stderr, "; the %s flow in %s/flow.safetensors\n", state.best_is_kept != 0 ? "best" : "last",
               one_line(a.out).c_str());
  if (!stop_requested()) require_learned(state.step, state.skipped_steps, a.out);
  return signal_exit_code();
}

}  // namespace melflow::tools
