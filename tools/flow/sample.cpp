#include <optional>

#include <torch/torch.h>

#include "base/error.h"
#include "base/file_ending.h"
#include "engine/files/npy.h"
#include "engine/flow/flow_pictures.h"
#include "engine/tensors.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

/// Bytes to a file, or to stdout where there is none.
void deliver(std::optional<AtomicFile>& file, std::span<const std::byte> bytes) {
  if (!file) return write_stdout(bytes);
  file->write(bytes);
  file->commit();
}

}  // namespace

int run_flow_sample(CLI::App& app, std::vector<std::string> arguments) {
  FlowUse use;
  std::string output, labels_output;
  int64_t count = 1000, label = -1;
  int columns = 10;
  double temperature = 1;
  bool force = false;
  app.add_option("--flow", use.flow, "a flow's file: RUN/flow.safetensors")->required();
  app.add_option("-o,--out,--output", output, ".npy, or .png for images; - is .npy on stdout")->required();
  app.add_option("-n,--count", count, "how many; left out, 1000, or one for each row of --context")
      ->check(CLI::Range(1, 100000000));
  app.add_option("--temperature", temperature, "a factor of the noise; below 1: likelier, less varied")
      ->check(within(0.0, 100.0));
  app.add_option("--class", label, "of a conditional flow; left out, the classes take turns")
      ->check(CLI::Range(0, 999));
  app.add_option("--context", use.context, "rows of numbers that samples depend on, which take turns: .npy, .csv");
  app.add_option("--columns", columns, "of a .png")->check(CLI::Range(1, 1000));
  app.add_option("--labels-output", labels_output, "the class of each sample, .npy");
  app.add_flag("--force", force, "overwrite");
  use.add_to(app);
  parse(app, std::move(arguments));
  const auto model = use.load();
  engine::FlowSampling sampling{.temperature = temperature, .seed = use.seed};
  if (label >= 0) sampling.label = label;
  if (!use.context.empty()) {
    sampling.context = engine::read_context(use.context);
    if (app.count("--count") == 0) count = sampling.context.size(0);
  }
  const bool picture = has_ending(output, ".png");
  if (output != "-" && !picture && !has_ending(output, ".npy")) {
    throw Error(Exit::usage, output + ": samples are written as .npy, images also as .png");
  }
  if (!picture) refuse_options(app, {"--columns"}, "but for a .png");
  require_ending("--labels-output", labels_output, ".npy");
  require_apart("-o", output, "--labels-output", labels_output);
  require_other(output, {use.flow, use.context});
  require_other(labels_output, {use.flow, use.context});
  if (picture) engine::require_picture(model, count, columns);
  const auto labels = engine::sample_labels(model, 0, count, sampling);
  if (!labels_output.empty() && !labels.defined()) {
    throw Error(Exit::usage, use.flow + ": knows no classes; leave --labels-output out");
  }
  auto file = open_output(output, force), labels_file = open_output(labels_output, force);
  const auto x = engine::sample_flow(model, 0, count, sampling);
  if (labels_file) {
    const std::vector<int64_t> numbers(labels.data_ptr<int64_t>(), labels.data_ptr<int64_t>() + labels.numel());
    labels_file->write(files::npy_bytes(labels.sizes(), std::span<const int64_t>(numbers)));
  }
  deliver(file, picture ? files::png_bytes(engine::picture_images(model, x, columns))
                        : files::npy_bytes(x.sizes(), engine::tensor_vector(x)));
  if (labels_file) labels_file->commit();
  return 0;
}

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
                 {"--context", "interpolation"},
                 {"--context-columns", "interpolation"},
                 {"--count", "samples images"},
                 {"--seed", "samples images"},
                 {"--columns", "images interpolation"},
                 {"--temperature", "images"},
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
  bool force = false;
  app.add_option("--flow", use.flow, "a flow's file: RUN/flow.safetensors");
  app.add_option("--data", use.data, "the data beside it: a file or a named distribution");
  app.add_option("--run", run, "a run's folder, for --kind training");
  app.add_option(
         "--kind", kind,
         "samples beside --data, the learned density and the grid of the noise warped by the flow, in the plane "
         "of --data (2 columns, nothing conditional); the training curve; images; images between two of --data")
      ->check(CLI::IsMember({"samples", "density", "grid", "training", "images", "interpolation"}));
  app.add_option("-o,--out,--output", output, ".png")->required();
  app.add_option("-n,--count", count, "how many samples, or images; left out, 5000 and ten rows")
      ->check(CLI::Range(1, 10000000));
  app.add_option("--columns", columns, "of images")->check(CLI::Range(1, 1000));
  app.add_option("--temperature", temperature, "of images")->check(within(0.0, 100.0));
  app.add_option("--between", between, "two item numbers of --data, from 0")
      ->expected(2)
      ->check(CLI::NonNegativeNumber);
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
    const auto x = engine::sample_flow(model, 0, shown, {.temperature = temperature, .seed = use.seed});
    image = engine::picture_images(model, x, columns);
  } else if (kind == "interpolation") {
    image = interpolation(use, model, between, columns);
  } else {
    if (use.data.empty()) throw Error(Exit::usage, "--kind " + kind + ": name the data with --data");
    const auto data = use.load_data(model);
    image = kind == "samples"   ? engine::picture_samples(model, data, count, use.seed)
            : kind == "density" ? engine::picture_density(model, data)
                                : engine::picture_grid(model, data);
  }
  deliver(file, files::png_bytes(image));
  return 0;
}

}  // namespace melflow::tools
