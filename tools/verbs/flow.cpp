#include <torch/torch.h>

#include "base/error.h"
#include "engine/device.h"
#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"
#include "tools/cli/options.h"
#include "tools/cli/verb_family.h"
#include "tools/cli/with_torch.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

constexpr Verb kVerbs[] = {
    {"train", "a flow from data, or to an energy", run_flow_train},
    {"eval", "how well data fits a flow", run_flow_eval},
    {"sample", "new data from a flow, to .npy or, of images, .png", run_flow_sample},
    {"bench", "speed of a flow, in items a second", run_flow_bench},
    {"plot", "pictures: samples, density, grid, training, images, interpolation", run_flow_plot},
};

}  // namespace

void FlowUse::add_conditions_to(CLI::App& app) {
  app.add_option("--labels", labels, "a file with a label for each item of --data, for class-conditional flows");
  app.add_option("--label-column", label_column, "first or last: the column of --data that is a label");
  app.add_option("--context", context, "a file with numbers for each item of --data, for flows trained on such");
  app.add_option("--context-columns", context_columns, "that many first columns of --data are such numbers")
      ->check(CLI::Range(1, 65536));
}

void FlowUse::add_to(CLI::App& app) {
  app.add_option("--seed", seed, "of samples, noise and fresh data")->check(seeds());
  app.add_option("--device", device, "cpu or cuda");
  add_threads(app, threads);
}

engine::FlowModel FlowUse::load() const {
  use_threads(threads);
  const auto where = engine::open_device(device);
  auto model = engine::load_flow(flow);
  model.flow->to(where);
  return model;
}

engine::FlowData FlowUse::load_data(const engine::FlowModel& model) const {
  const auto& shape = model.flow->shape();
  if (!labels.empty() && (shape.context == 0 || engine::hears_numbers(model.config))) {
    throw Error(Exit::usage, "--labels: means nothing to " + model.name + ", a flow without classes; leave it out");
  }
  auto loaded = engine::load_flow_data({.path = data,
                                        .labels = labels,
                                        .label_column = label_column,
                                        .context = context,
                                        .context_columns = context_columns,
                                        .height = shape.height,
                                        .width = shape.width});
  engine::require_fit(model, loaded);
  return loaded;
}

int run_flow(CLI::App&, std::vector<std::string> arguments) {
  std::string data = "\nnamed data: ";
  for (const auto& toy : engine::toys()) data += toy.name + std::string(" ");
  for (const auto& energy : engine::energies()) data += energy.name + std::string(" ");
  return run_family({.program = "melflow flow",
                     .verbs = kVerbs,
                     .about = "the classical normalizing flows\n\n"
                              "  melflow flow train --flow maf --data two_moons --out run/\n"
                              "  melflow flow plot --flow run/flow.safetensors --data two_moons -o moons.png\n",
                     .more = data},
                    std::move(arguments));
}

}  // namespace melflow::tools
