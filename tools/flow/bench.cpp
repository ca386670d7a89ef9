#include <time.h>
#include <algorithm>
#include <cstdio>
#include <iostream>

#include <torch/torch.h>
#include <nlohmann/json.hpp>

#include "engine/flow/flow_score.h"
#include "engine/flow/registry.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

double now(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Median seconds of a call, over about as long as asked and five calls at least, after one that warms up.
template <typename Work>
double seconds_of(clockid_t clock, double about, Work&& work) {
  work();
  std::vector<double> times;
  double sum = 0;
  while (sum < about || times.size() < 5) {
    const double begin = now(clock);
    work();
    times.push_back(now(clock) - begin);
    sum += times.back();
  }
  std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

int run_flow_bench(CLI::App& app, std::vector<std::string> arguments) {
  FlowUse use;
  std::vector<int64_t> batches{1, 64, 4096};
  double about = 0.3;
  bool processor_time = false, as_json = false;
  app.add_option("--flow", use.flow, "a flow's file: RUN/flow.safetensors")->required();
  app.add_option("--batch", batches, "items at once")->check(CLI::Range(1, 1000000));
  app.add_option("--seconds", about, "that each number takes")->check(within(0.01, 60.0));
  app.add_flag("--processor-time", processor_time, "leave out what other work on the machine takes; one thread only");
  app.add_flag("--json", as_json, "one JSON object a batch size");
  use.add_to(app);
  parse(app, std::move(arguments));
  const auto model = use.load();
  const clockid_t clock = processor_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  c10::InferenceMode no_graph;
  torch::manual_seed(use.seed);
  const auto& shape = model.flow->shape();
  for (const auto batch : batches) {
    const auto device = model.device();
    const auto z = torch::randn(shape.sizes(batch)).to(device);
    const auto context = engine::any_context(*model.flow, batch);
    const auto drawn = engine::draw_or_refuse(model, z, context);
    const double density = seconds_of(clock, about, [&] { model.flow->log_prob(drawn.x, context).cpu(); });
    const double sampling = seconds_of(clock, about, [&] { model.flow->draw(z, context).x.cpu(); });
    // The error of what was timed: a sample's density by either way.
    const auto error = (model.flow->log_prob(drawn.x, context) - drawn.log_prob).abs().max().item<double>();
    const auto items = static_cast<double>(batch);
    if (as_json) {
      std::cout << json_text({{"batch", batch},
                              {"density_items_per_second", items / density},
                              {"sampling_items_per_second", items / sampling},
                              {"largest_difference_in_log_density", error}})
                << std::endl;
    } else {
      std::printf(
          "%6ld at once: density %.4g items/s, sampling %.4g items/s, log-density of samples by either way %.1e "
          "apart\n",
          static_cast<long>(batch), items / density, items / sampling, error);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace melflow::tools
