#include <iostream>

#include <torch/torch.h>

#include "audio/error.h"
#include "audio/nearest.h"
#include "engine/device.h"
#include "tools/flow_verbs.h"
#include "tools/verbs.h"

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

void FlowUse::add_to(CLI::App& app) {
  app.add_option("--labels", labels, "a file with a label for each item of --data, for class-conditional flows");
  app.add_option("--label-column", label_column, "first or last: the column of --data that is a label");
  app.add_option("--seed", seed, "of samples, noise and fresh data");
  app.add_option("--device", device, "cpu or cuda");
  app.add_option("--threads", threads, "of the CPU; 0: as many as there are")->check(CLI::Range(0, 1024));
}

engine::FlowModel FlowUse::load() const {
  if (threads > 0) torch::set_num_threads(threads);
  auto model = engine::load_flow(flow);
  model.flow->to(engine::open_device(device));
  return model;
}

engine::FlowData FlowUse::load_data(const engine::FlowModel& model) const {
  const auto& shape = model.flow->shape();
  return engine::load_flow_data(
      {.path = data, .labels = labels, .label_column = label_column, .height = shape.height, .width = shape.width});
}

int run_flow(CLI::App&, std::vector<std::string> arguments) {
  const std::string name = arguments.empty() ? "" : arguments.front();
  std::vector<std::string> names;
  for (const auto& verb : kVerbs) {
    names.emplace_back(verb.name);
    if (name != verb.name) continue;
    CLI::App app{verb.summary, "melflow flow " + name};
    app.set_help_flag("-h,--help", "show this help");
    arguments.erase(arguments.begin());
    try {
      return verb.run(app, std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      std::cout << app.help();
      return 0;
    }
  }
  const bool help = name == "--help" || name == "-h";
  auto& out = help ? std::cout : std::cerr;
  if (!help && !name.empty()) {
    out << "melflow flow: no verb '" << name << "'; did you mean '" << nearest(name, names) << "'?\n";
    return static_cast<int>(Exit::usage);
  }
  out << "melflow flow: the six classical normalizing flows\n\n"
         "  melflow flow train --flow maf --data two_moons --out run/\n"
         "  melflow flow plot --flow run/flow.safetensors --data two_moons -o moons.png\n\nverbs:\n";
  for (const auto& verb : kVerbs) out << "  " << verb.name << "\t" << verb.summary << "\n";
  out << "\nnamed data: ";
  for (const auto& toy : engine::toys()) out << toy.name << " ";
  for (const auto& energy : engine::energies()) out << energy.name << " ";
  out << "\nmelflow flow VERB --help tells more.\n";
  return help ? 0 : static_cast<int>(Exit::usage);
}

}  // namespace melflow::tools
