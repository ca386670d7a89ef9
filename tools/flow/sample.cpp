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

int run_flow_sample(CLI::App& app, std::vector<std::string> arguments) {
  FlowUse use;
  std::string output, labels_output;
  int64_t count = 1000, label = -1;
  int columns = 10;
  double temperature = 1;
  std::vector<float> given;
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
  app.add_option("--given", given, "numbers that every sample depends on")->delimiter(',')->excludes("--context");
  app.add_option("--columns", columns, "of a .png")->check(CLI::Range(1, 1000));
  app.add_option("--labels-output", labels_output, "the class of each sample, .npy");
  app.add_flag("--force", force, "overwrite");
  use.add_to(app);
  parse(app, std::move(arguments));
  const auto model = use.load();
  engine::FlowSampling sampling{.temperature = temperature, .seed = use.seed};
  if (label >= 0) sampling.label = label;
  if (!given.empty()) engine::give(model, given, sampling);
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

}  // namespace melflow::tools
