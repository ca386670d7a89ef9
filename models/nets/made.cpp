#include "models/nets/made.h"

#include <string>

#include "models/nets/row_linear.h"

namespace melflow::models {
namespace {

/// 1 where an output that sees degrees ≤ seen[o] may look at an input of degree[i].
torch::Tensor mask(const std::vector<int64_t>& seen, const std::vector<int64_t>& degree) {
  const auto o = torch::tensor(seen).unsqueeze(1), i = torch::tensor(degree).unsqueeze(0);
  return (i <= o).to(torch::kFloat32);
}

}  // namespace

Made::Made(const Options& o) : options_(o) {
  // With a context even the first dimension has something to learn, from units of degree 0.
  const int64_t lowest = o.context > 0 || o.dimensions == 1 ? 0 : 1, degrees = o.dimensions - lowest;
  TORCH_CHECK(o.dimensions > 0 && o.outputs > 0 && o.hidden_layers > 0, "Made: ", o.dimensions, " dimensions, ",
              o.outputs, " outputs and ", o.hidden_layers, " hidden layers must be above 0");
  TORCH_CHECK(o.hidden >= degrees, "Made: ", o.hidden, " hidden units for ", o.dimensions, " dimensions; fewer than ",
              degrees, " would leave dimensions out of the conditionals: --set model.hidden=", degrees);
  std::vector<int64_t> inputs(static_cast<size_t>(o.dimensions)), units, outputs;
  for (int64_t place = 0; place < o.dimensions; ++place) inputs[static_cast<size_t>(dimension_at(place))] = place + 1;
  for (int64_t j = 0; j < o.hidden; ++j) units.push_back(lowest + j * degrees / o.hidden);
  for (int64_t k = 0; k < o.outputs; ++k) {
    for (const auto place : inputs) outputs.push_back(place - 1);
  }
  for (int64_t known = 0; known <= o.dimensions; ++known) {
    units_of_.push_back(std::upper_bound(units.begin(), units.end(), known) - units.begin());
  }
  for (int64_t i = 0; i <= o.hidden_layers; ++i) {
    const auto& from = i == 0 ? inputs : units;
    const auto& to = i == o.hidden_layers ? outputs : units;
    layers_.push_back(register_module(
        std::to_string(i), torch::nn::Linear(static_cast<int64_t>(from.size()), static_cast<int64_t>(to.size()))));
    masks_.push_back(mask(to, from));
  }
  if (o.context > 0) {
    context_ = register_module("context", torch::nn::Linear(torch::nn::LinearOptions(o.context, o.hidden).bias(false)));
  }
  torch::NoGradGuard no_grad;
  layers_.back()->weight.zero_();
  layers_.back()->bias.zero_();
}

const std::vector<torch::Tensor>& Made::masked_weights() {
  std::vector<torch::Tensor> weights;
  for (const auto& layer : layers_) weights.push_back(layer->weight);
  return weights_.get(weights, [&] {
    std::vector<torch::Tensor> masked;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (masks_[i].options().type_equal(weights[i].options()) == false) masks_[i] = masks_[i].to(weights[i]);
      masked.push_back(weights[i] * masks_[i]);
    }
    return masked;
  });
}

torch::Tensor Made::context_bias(const torch::Tensor& context) const {
  return context_ ? apply_linear(context, context_->weight) : torch::Tensor();
}

torch::Tensor Made::apply(const std::vector<torch::Tensor>& weights, const torch::Tensor& context_bias,
                          const torch::Tensor& x) const {
  auto h = heard(x, options_.input_limit);
  for (size_t i = 0; i + 1 < weights.size(); ++i) {
    h = apply_linear(h, weights[i], layers_[i]->bias);
    if (i == 0 && context_bias.defined()) h = h + context_bias;
    h = h.relu_();
  }
  return apply_linear(h, weights.back(), layers_.back()->bias);
}

torch::Tensor Made::forward(const torch::Tensor& x, const torch::Tensor& context) {
  return apply(masked_weights(), context_bias(context), x);
}

}  // namespace melflow::models
