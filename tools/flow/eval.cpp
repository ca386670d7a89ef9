#include <cmath>
#include <cstdio>
#include <iostream>

#include <torch/torch.h>

#include "engine/device.h"
#include "engine/eval/score.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/flow/flow_score.h"
#include "engine/model_voice.h"
#include "engine/tensors.h"
#include "tools/cli/batch.h"
#include "tools/cli/options.h"
#include "tools/cli/output.h"
#include "tools/cli/shipped_voices.h"
#include "tools/cli/with_torch.h"
#include "tools/flow/verbs.h"

namespace melflow::tools {
namespace {

using engine::Estimate;
using nlohmann::json;

void put(json& item, const std::string& key, const Estimate& e) {
  item[key] = e.mean;
  if (std::isfinite(e.standard_error)) item[key + "_standard_error"] = e.standard_error;
}

std::string shown(const Estimate& e, const char* unit) {
  char text[96];
  if (std::isfinite(e.standard_error)) {
    std::snprintf(text, sizeof text, "%.4f ± %.4f %s", e.mean, e.standard_error, unit);
  } else {
    std::snprintf(text, sizeof text, "%.4f %s", e.mean, unit);
  }
  return text;
}

/// The index of the item that the flow finds least likely, among those with a density.
std::optional<int64_t> least_likely(const std::vector<float>& log_prob) {
  std::optional<int64_t> least;
  for (size_t i = 0; i < log_prob.size(); ++i) {
    if (std::isfinite(log_prob[i]) && (!least || log_prob[i] < log_prob[*least])) least = i;
  }
  return least;
}

json as_json(const engine::FlowScore& score) {
  json item{{"items", score.items}};
  if (score.not_finite > 0) item["not_finite"] = score.not_finite;
  put(item, "nats", score.nats);
  if (score.bits_per_dimension) put(item, "bits_per_dimension", *score.bits_per_dimension);
  if (score.standardised_nats) item["standardised_nats"] = *score.standardised_nats;
  if (score.entropy) item["entropy"] = *score.entropy;
  if (score.gap) put(item, "gap", *score.gap);
  if (const auto least = least_likely(score.log_prob)) {
    item["least_nats"] = score.log_prob[*least];
    item["least_index"] = *least;
  }
  return item;
}

void print(const std::string& name, const engine::FlowScore& score) {
  if (score.not_finite > 0) {
    std::cout << name << ": no mean, since " << score.not_finite << " of " << score.items << " items have no density"
              << std::endl;
    return;
  }
  std::cout << name << ": " << shown(score.nats, "nats");
  if (score.bits_per_dimension) std::cout << ", " << shown(*score.bits_per_dimension, "bits/dim");
  if (score.standardised_nats) std::printf(" (%.4f in standardised units)", *score.standardised_nats);
  if (score.gap) std::cout << ", " << shown(*score.gap, "below the true density");
  std::cout << ", " << score.items << " items";
  if (const auto least = least_likely(score.log_prob); least && !score.entropy) {  // fresh items of a toy have no names
    std::printf(", item %ld the least likely, %.4f", static_cast<long>(*least) + 1, score.log_prob[*least]);
  }
  std::cout << std::endl;
}

bool is_flow(const std::filesystem::path& path) {
  return files::SafetensorsFile(path).metadata().contains("melflow_flow_version");
}

/// A vocoder is a flow like the others: the whole recording's likelihood by the one formula of them all, where `score`
/// goes frame by frame.
json eval_voice(const FlowUse& use, const std::filesystem::path& file) {
  torch::NoGradGuard no_grad;
  use_threads(use.threads);
  const auto device = engine::open_device(use.device);
  const auto voice = engine::load_voice(file);
  voice.model->to(device);
  const auto recording = engine::read_recording(use.data, voice);
  const auto x = engine::whole_frames(recording.sound, voice.model->hop_length());
  auto z = voice.model->forward(x.to(device), engine::mel_tensor(recording.mel).to(device));
  z.value = z.value.to(torch::kFloat64);
  z.log_det = z.log_det.to(torch::kFloat64);
  const auto nats = models::log_prob_of(z).item<double>();
  const auto samples = static_cast<double>(x.numel());
  return {{"flow", use.flow}, {"data", use.data}, {"items", 1}, {"nats", nats}, {"nats_per_sample", -nats / samples}};
}

struct EvalOptions {
  FlowUse use;
  int64_t count = 50000;
  bool as_json = false, force = false;
  std::string log_prob;  ///< a file for the nats of each item
};

json eval_energy(const EvalOptions& o, const engine::FlowModel& model, const engine::Energy& energy) {
  const auto score = engine::score_energy(model, energy, o.count, o.use.seed);
  json item{{"items", score.items}, {"effective_share", score.effective_share}};
  put(item, "kl", score.kl);
  if (score.not_finite > 0) {
    item["not_finite"] = score.not_finite;
    std::fprintf(stderr, "melflow: %s: %ld of %ld samples are beyond single precision, and so there is no KL\n",
                 one_line(o.use.flow).c_str(), static_cast<long>(score.not_finite), static_cast<long>(score.items));
  }
  if (!o.as_json && score.not_finite == 0) {
    std::cout << o.use.data << ": " << shown(score.kl, "nats of KL(flow, energy)") << ", effective share of samples "
              << score.effective_share << ", " << score.items << " samples" << std::endl;
  }
  return item;
}

json eval_items(const EvalOptions& o, const engine::FlowModel& model, const engine::FlowData& data) {
  auto each = open_output(o.log_prob, o.force);
  const auto score = engine::score_flow(model, data, o.count, o.use.seed);
  if (each) {
    const int64_t shape[] = {score.items};
    each->write(files::npy_bytes(shape, std::span<const float>(score.log_prob)));
    each->commit();
  }
  if (!o.as_json) print(o.use.data, score);
  if (score.not_finite > 0) {
    std::fprintf(stderr,
                 "melflow: %s: %ld of %ld items, item %ld the first, have no density in single precision: they are far "
                 "from all that the flow has learned\n",
                 one_line(o.use.data).c_str(), static_cast<long>(score.not_finite), static_cast<long>(score.items),
                 static_cast<long>(score.first_not_finite) + 1);
  }
  return as_json(score);
}

}  // namespace

int run_flow_eval(CLI::App& app, std::vector<std::string> arguments) {
  EvalOptions o;
  app.add_option("--flow", o.use.flow,
                 "a flow's file: RUN/flow.safetensors; or a voice, of a recording, by file or name")
      ->required();
  app.add_option("--data", o.use.data, ".npy, .csv, idx (also .gz), or a named distribution")->required();
  app.add_option("--count", o.count, "fresh items of a named distribution")->check(CLI::Range(2, 100000000));
  app.add_flag("--json", o.as_json, "one object");
  app.add_option("--log-prob", o.log_prob, "the log-likelihood of each item of --data, in nats, to this .npy");
  app.add_flag("--force", o.force, "overwrite it");
  o.use.add_conditions_to(app);
  o.use.add_to(app);
  parse(app, std::move(arguments));
  const auto file = named_input(o.use.flow);
  if (!is_flow(file)) {
    refuse_options(app,
                   {"--count", "--labels", "--label-column", "--context", "--context-columns", "--log-prob", "--force"},
                   "for a voice");
    const auto item = eval_voice(o.use, file);
    if (o.as_json) {
      std::cout << json_text(item) << std::endl;
    } else {
      std::printf("%s: %.4f nats per sample\n", o.use.data.c_str(), item.at("nats_per_sample").get<double>());
    }
    return 0;
  }
  const auto model = o.use.load();
  const auto data = o.use.load_data(model);
  if (data.x.defined()) {
    refuse_options(app, {"--count"}, "for a file, all of which is scored");
  } else {
    refuse_options(app, {"--log-prob"}, "for a named distribution, whose items are drawn here");
  }
  if (o.log_prob.empty()) refuse_options(app, {"--force"}, "without --log-prob");
  require_ending("--log-prob", o.log_prob, ".npy");
  require_other(o.log_prob, {file, o.use.data, o.use.labels, o.use.context});
  json item{{"flow", o.use.flow}, {"data", o.use.data}};
  item.update(data.energy != nullptr ? eval_energy(o, model, *data.energy) : eval_items(o, model, data));
  if (o.as_json) std::cout << json_text(item) << std::endl;
  return static_cast<int>(item.contains("not_finite") ? Exit::some_failed : Exit::ok);
}

}  // namespace melflow::tools
