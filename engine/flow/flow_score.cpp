#include "engine/flow/flow_score.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <torch/torch.h>

#include "base/error.h"
#include "engine/flow/registry.h"
#include "engine/tensors.h"

namespace melflow::engine {
namespace {

Estimate estimate(const torch::Tensor& values) {
  const auto v = values.to(torch::kFloat64);
  const auto n = static_cast<double>(v.size(0));
  return {v.mean().item<double>(), n > 1 ? v.std().item<double>() / std::sqrt(n) : NAN};
}

/// Neighbours far apart (splitmix64's last steps): the parts of one evaluation are not those of another seed's, nor a
/// training's batches.
uint64_t mixed(uint64_t seed) {
  seed = (seed + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
  return (seed ^ (seed >> 31)) * 0x94D049BB133111EBu;
}

}  // namespace

int64_t items_at_once(const models::FlowShape& shape) {
  constexpr int64_t kItems = 1024, kNumbers = 1 << 20;
  return std::clamp<int64_t>(kNumbers / shape.numel(), 1, kItems);
}

namespace {

void require_width(const torch::Tensor& context, int64_t numbers, const std::string& name) {
  if (context.size(1) == numbers) return;
  throw Error(Exit::bad_data, name + ": a context of " + std::to_string(context.size(1)) +
                                  " numbers, but the flow hears " + std::to_string(numbers));
}

}  // namespace

torch::Tensor context_of(const nlohmann::json& config, const FlowBatch& batch, const std::string& name) {
  const auto width = config.at("context").get<int64_t>();
  if (width == 0) return {};
  if (hears_numbers(config)) {
    if (!batch.context.defined()) {
      throw Error(
          Exit::usage,
          name + ": the flow is conditional on " + std::to_string(width) +
              " numbers; name them (--context or, of a table, --context-columns; of samples, --context or --given)");
    }
    require_width(batch.context, width, name);
    return batch.context;
  }
  if (!batch.labels.defined()) {
    throw Error(Exit::usage, name + ": the flow is conditional on a class; name the labels (--labels, --label-column)");
  }
  return one_hot(batch.labels, width, name);
}

void require_fit(const FlowModel& model, const FlowData& data) {
  if (model.flow->shape().context > 0 && !data.x.defined()) {
    throw Error(Exit::usage, data.name + ": has no labels and no context, and " + model.name +
                                 " is conditional on them; name a file of data that has");
  }
  const auto theirs = data.shape();
  const auto& ours = model.flow->shape();
  const bool numbers = hears_numbers(model.config);
  if (ours.context > 0 && !numbers && data.labels.defined()) {
    require_classes(data.labels, ours.context, data.labels_name);
  }
  if (numbers && data.context.defined()) require_width(data.context, ours.context, data.name);
  if (data.context.defined() && !numbers) {
    throw Error(Exit::usage, model.name + ": was not trained on a context; leave --context and --context-columns out");
  }
  if (numbers && data.x.defined() && !data.context.defined()) {
    throw Error(Exit::usage, data.name + ": the flow is conditional on " + std::to_string(ours.context) +
                                 " numbers; name them (--context or --context-columns)");
  }
  if (theirs.channels == ours.channels && theirs.height == ours.height && theirs.width == ours.width) return;
  const auto text = [](const models::FlowShape& s) {
    auto out = std::to_string(s.channels);
    if (s.image()) out += " x " + std::to_string(s.height) + " x " + std::to_string(s.width);
    return out;
  };
  throw Error(Exit::bad_data, data.name + ": items of " + text(theirs) + " numbers, but the flow " + model.name +
                                  " takes " + text(ours));
}

torch::Tensor log_prob(models::Flow& flow, const nlohmann::json& config, const FlowBatch& batch, uint64_t seed,
                       const std::string& name) {
  const auto x = is_of_pixels(config) ? dequantise(batch.x, config.at("pixel_levels"), seed, name) : batch.x;
  const auto context = context_of(config, batch, name);
  const auto device = flow.parameters().front().device();
  return flow.log_prob(x.to(device), context.defined() ? context.to(device) : context);
}

FlowScore score_flow(const FlowModel& model, const FlowData& data, int64_t count, uint64_t seed) {
  torch::NoGradGuard no_grad;
  require_fit(model, data);
  std::vector<torch::Tensor> values, true_values;
  const int64_t items = data.x.defined() ? data.x.size(0) : count, chunk = items_at_once(model.flow->shape());
  for (int64_t first = 0; first < items; first += chunk) {
    const auto n = std::min(chunk, items - first);
    const auto part_seed = mixed(seed) + static_cast<uint64_t>(first);
    const auto batch = data.toy != nullptr ? draw(data, n, part_seed) : take(data, torch::arange(first, first + n));
    values.push_back(log_prob(*model.flow, model.config, batch, part_seed, data.name).to(torch::kCPU));
    if (data.toy != nullptr) true_values.push_back(data.toy->log_prob(batch.x.to(torch::kFloat64)));
  }
  const auto all = torch::cat(values).to(torch::kFloat64);
  FlowScore score{.items = items, .nats = estimate(all), .log_prob = tensor_vector(all)};
  if (const auto wrong = all.isfinite().logical_not().nonzero(); wrong.size(0) > 0) {
    score.not_finite = wrong.size(0);
    score.first_not_finite = wrong[0].item<int64_t>();
  }
  const auto& shape = model.flow->shape();
  if (is_of_pixels(model.config))
    score.bits_per_dimension = estimate(all / (-static_cast<double>(shape.numel()) * std::numbers::ln2));
  if (const double shift = standardise_log_scale(*model.flow); shift != 0) {
    score.standardised_nats = score.nats.mean + shift;
  }
  if (data.toy != nullptr) {
    score.entropy = data.toy->entropy;
    score.gap = estimate(torch::cat(true_values) - all);
  }
  return score;
}

models::Flow::Drawn draw_or_refuse(const FlowModel& model, const torch::Tensor& z, const torch::Tensor& context) {
  try {
    return model.flow->draw(z, context);
  } catch (const models::NoInverse& e) {
    throw Error(Exit::bad_data, model.name + ": cannot be sampled: " + e.what());
  }
}

EnergyScore score_energy(const FlowModel& model, const Energy& energy, int64_t count, uint64_t seed) {
  torch::NoGradGuard no_grad;
  require_fit(model, {.name = energy.name});
  std::vector<torch::Tensor> parts;
  const Noise noise(seed);
  const auto chunk = items_at_once(model.flow->shape());
  for (int64_t first = 0; first < count; first += chunk) {
    const auto z = noise_tensor(noise, 2, first, std::min(chunk, count - first))[0].t().contiguous();
    const auto drawn = draw_or_refuse(model, z.to(model.device()), {});
    parts.push_back((drawn.log_prob + energy.energy(drawn.x)).to(torch::kCPU, torch::kFloat64));
  }
  const auto log_ratio = torch::cat(parts) + energy.log_normaliser;  // ln q/p
  const auto log_size = 2 * torch::logsumexp(-log_ratio, 0) - torch::logsumexp(-2 * log_ratio, 0);
  return {.items = count,
          .not_finite = log_ratio.isfinite().logical_not().sum().item<int64_t>(),
          .kl = estimate(log_ratio),
          .effective_share = std::exp(log_size.item<double>()) / static_cast<double>(count)};
}

torch::Tensor context_row(const FlowModel& model, const std::vector<float>& given) {
  const auto width = model.flow->shape().context;
  const auto refuse = [&](const std::string& what) {
    return Error(Exit::usage, "--given: " + model.name + " " + what);
  };
  if (width == 0) throw refuse("depends on nothing; leave it out");
  const auto row = torch::tensor(given).unsqueeze(0);
  if (!hears_numbers(model.config)) {
    const bool one =
        given.size() == 1 && given[0] == std::floor(given[0]) && given[0] >= 0 && given[0] < static_cast<float>(width);
    if (!one) throw refuse("wants one class, 0 to " + std::to_string(width - 1));
    return one_hot(row.flatten().to(torch::kInt64), width, model.name);
  }
  if (row.size(1) != width) {
    throw refuse("wants " + std::to_string(width) + " numbers, not " + std::to_string(given.size()));
  }
  if (!row.isfinite().all().item<bool>()) throw refuse("wants numbers that are finite");
  return row;
}

void give(const FlowModel& model, const std::vector<float>& given, FlowSampling& sampling) {
  const auto row = context_row(model, given);
  if (hears_numbers(model.config)) sampling.context = row;
  if (!hears_numbers(model.config)) sampling.label = static_cast<int64_t>(given[0]);
}

torch::Tensor sample_labels(const FlowModel& model, int64_t first, int64_t count, const FlowSampling& sampling) {
  const auto classes = hears_numbers(model.config) ? 0 : model.flow->shape().context;
  if (classes == 0) {
    if (sampling.label) throw Error(Exit::usage, model.name + ": was not trained on classes; leave --class out");
    return {};
  }
  if (!sampling.label) return torch::arange(first, first + count).remainder(classes);
  if (*sampling.label >= classes) {
    throw Error(Exit::usage,
                "--class " + std::to_string(*sampling.label) + ": the flow knows 0 to " + std::to_string(classes - 1));
  }
  return torch::full({count}, *sampling.label, torch::kInt64);
}

namespace {

/// Whole pixels where the flow is one of pixels.
torch::Tensor as_pixels(const FlowModel& model, const torch::Tensor& x) {
  if (!is_of_pixels(model.config)) return x;
  const auto levels = model.config.at("pixel_levels").get<double>();
  return x.floor().clamp(0, levels - 1);
}

}  // namespace

torch::Tensor sample_flow(const FlowModel& model, int64_t first, int64_t count, const FlowSampling& sampling) {
  torch::NoGradGuard no_grad;
  const auto& shape = model.flow->shape();
  const auto labels = sample_labels(model, first, count, sampling);
  if (sampling.context.defined() && !hears_numbers(model.config)) {
    throw Error(Exit::usage,
                model.name + ": was not trained on a context; leave --context and --given out (of classes: --class)");
  }
  const Noise noise(sampling.seed);
  std::vector<torch::Tensor> parts;
  const auto chunk = items_at_once(shape);
  for (int64_t done = 0; done < count; done += chunk) {
    const auto n = std::min(chunk, count - done);
    const auto z =
        noise_tensor(noise, shape.numel(), first + done, n)[0].t().reshape(shape.sizes(n)) * sampling.temperature;
    FlowBatch given;
    if (labels.defined()) given.labels = labels.narrow(0, done, n);
    if (sampling.context.defined()) {
      const auto turns = torch::arange(first + done, first + done + n).remainder(sampling.context.size(0));
      given.context = sampling.context.index_select(0, turns);
    }
    auto context = context_of(model.config, given, model.name);
    if (context.defined()) context = context.to(model.device());
    parts.push_back(draw_or_refuse(model, z.contiguous().to(model.device()), context).x.to(torch::kCPU));
  }
  const auto all = torch::cat(parts);
  if (const auto bad = all.flatten(1).isfinite().all(1).logical_not().sum().item<int64_t>(); bad > 0) {
    throw Error(Exit::bad_data,
                model.name + ": " + std::to_string(bad) + " of " + std::to_string(count) +
                    " samples are not finite in single precision; try a lower --temperature, or train it "
                    "anew with a smaller learning rate");
  }
  return as_pixels(model, all);
}

torch::Tensor interpolate(const FlowModel& model, const FlowBatch& ends, int64_t count) {
  torch::NoGradGuard no_grad;
  if (is_of_pixels(model.config)) require_pixels(ends.x, model.config.at("pixel_levels"), "--between");
  const auto device = model.device();
  auto context = context_of(model.config, ends, model.name);
  if (context.defined()) context = context.to(device);
  // The middle of a pixel stands for the pixel.
  const double middle = is_of_pixels(model.config) ? 0.5 : 0.0;
  const auto z = model.flow->bijection().forward((ends.x + middle).to(device), context).value;
  const auto way = [&](const torch::Tensor& two) {
    std::vector<torch::Tensor> steps;
    for (int64_t i = 0; i < count; ++i) {
      const double part = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.0;
      steps.push_back(torch::lerp(two.narrow(0, 0, 1), two.narrow(0, 1, 1), part));
    }
    return torch::cat(steps);
  };
  if (context.defined()) context = way(context);
  return as_pixels(model, draw_or_refuse(model, way(z), context).x.to(torch::kCPU));
}

}  // namespace melflow::engine
