#include <torch/torch.h>

#include "base/error.h"
#include "engine/flow/flow_pictures.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

files::Image interpolation(const FlowUse& use, const engine::FlowModel& model, const std::vector<int64_t>& between,
                           int columns) {
  if (use.data.empty() || between.size() != 2) {
    throw Error(Exit::usage, "--kind interpolation: needs --data and --between I J, two items of it");
  }
  const auto data = use.load_data(model);
  if (!data.x.defined() || std::max(between[0], between[1]) >= data.x.size(0)) {
    throw Error(Exit::usage, use.data + ": has no such item");
  }
  const auto ends = engine::take(data, torch::tensor(between));
  return engine::picture_images(model, engine::interpolate(model, ends, columns), columns);
}

/// Options that a kind of picture has no use for.
void refuse_unused_by(const std::string& kind, const CLI::App& app) {
  refuse_unused(app,
                {{"--run", "training"},
                 {"--flow", "samples density grid images interpolation"},
                 {"--data", "samples density grid interpolation"},
                 {"--labels", "samples density grid interpolation"},
                 {"--label-column", "samples density grid interpolation"},
                 {"--context", "density grid interpolation"},
                 {"--context-columns", "density grid interpolation"},
                 {"--count", "samples images"},
                 {"--seed", "samples images"},
                 {"--columns", "images interpolation"},
                 {"--temperature", "images"},
                 {"--given", "density grid images"},
                 {"--between", "interpolation"}},
                {kind}, "for --kind " + kind);
}

}  // namespace

int run_flow_plot(CLI::App& app, std::vector<std::string> arguments) {
  FlowUse use;
  std::string kind = "samples", output, run;
  int64_t count = 5000;
  int columns = 10;
  double temperature = 1;
  std::vector<int64_t> between;
  std::vector<float> given;
  bool force = false;
  app.add_option("--flow", use.flow, "a flow's file: RUN/flow.safetensors");
  app.add_option("--data", use.data, "the data beside it: a file or a named distribution");
  app.add_option("--run", run, "a run's folder, for --kind training");
  app.add_option(
         "--kind", kind,
         "samples beside --data, the learned density and the grid of the noise warped by the flow, in the plane "
         "of --data (2 columns beside labels and context); the training curve; images; images between two of --data")
      ->check(CLI::IsMember({"samples", "density", "grid", "training", "images", "interpolation"}));
  app.add_option("-o,--out,--output", output, ".png")->required();
  app.add_option("-n,--count", count, "how many samples, or images; left out, 5000 and ten rows")
      ->check(CLI::Range(1, 10000000));
  app.add_option("--columns", columns, "of images")->check(CLI::Range(1, 1000));
  app.add_option("--temperature", temperature, "of images")->check(within(0.0, 100.0));
  app.add_option("--between", between, "two item numbers of --data, from 0")
      ->expected(2)
      ->check(CLI::NonNegativeNumber);
  app.add_option("--given", given, "numbers that the density or the images depend on; of a flow of classes, the class")
      ->delimiter(',');
  app.add_flag("--force", force, "overwrite");
  use.add_conditions_to(app);
  use.add_to(app);
  parse(app, std::move(arguments));
  if (output != "-") require_ending("-o", output, ".png");
  require_other(output, {use.flow, use.data, use.labels, use.context});
  refuse_unused_by(kind, app);
  auto file = open_output(output, force);
  if (kind == "training") {
    if (run.empty()) throw Error(Exit::usage, "--kind training: name the run's folder with --run");
    deliver(file, files::png_bytes(engine::picture_training(run)));
    return 0;
  }
  if (use.flow.empty()) throw Error(Exit::usage, "--kind " + kind + ": name the flow's file with --flow");
  const auto model = use.load();
  files::Image image;
  if (kind == "images") {
    const auto shown = app.count("--count") > 0 ? count : 10L * columns;
    engine::require_picture(model, shown, columns);
    engine::FlowSampling sampling{.temperature = temperature, .seed = use.seed};
    if (!given.empty()) engine::give(model, given, sampling);
    const auto x = engine::sample_flow(model, 0, shown, sampling);
    image = engine::picture_images(model, x, columns);
  } else if (kind == "interpolation") {
    image = interpolation(use, model, between, columns);
  } else {
    if (use.data.empty()) throw Error(Exit::usage, "--kind " + kind + ": name the data with --data");
    const auto data = use.load_data(model);
    const auto context = given.empty() ? torch::Tensor() : engine::context_row(model, given);
    image = kind == "samples"   ? engine::picture_samples(model, data, count, use.seed)
            : kind == "density" ? engine::picture_density(model, data, context)
                                : engine::picture_grid(model, data, context);
  }
  deliver(file, files::png_bytes(image));
  return 0;
}

}  // namespace melflow::tools
