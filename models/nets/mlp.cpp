#include "models/nets/mlp.h"

#include <string>

#include "models/nets/row_linear.h"

namespace melflow::models {

Mlp::Mlp(const Options& o) : input_limit_(o.input_limit) {
  TORCH_CHECK(o.in >= 0 && o.out > 0 && o.hidden > 0 && o.hidden_layers > 0, "Mlp: ", o.in, " to ", o.out, " by ",
              o.hidden_layers, " layers of ", o.hidden);
  for (int64_t i = 0; i <= o.hidden_layers; ++i) {
    const auto in = i == 0 ? o.in : o.hidden, out = i == o.hidden_layers ? o.out : o.hidden;
    layers_.push_back(register_module(std::to_string(i), torch::nn::Linear(in, out)));
  }
  if (o.context > 0) {
    context_ = register_module("context", torch::nn::Linear(torch::nn::LinearOptions(o.context, o.hidden).bias(false)));
  }
  torch::NoGradGuard no_grad;
  layers_.back()->weight.zero_();
  layers_.back()->bias.zero_();
}

torch::Tensor Mlp::forward(const torch::Tensor& x, const torch::Tensor& context) {
  auto h = heard(x, input_limit_);
  for (size_t i = 0; i + 1 < layers_.size(); ++i) {
    h = apply_linear(h, layers_[i]);
    if (i == 0 && context_) h = h + apply_linear(context, context_->weight);
    h = h.relu_();
  }
  return apply_linear(h, layers_.back());
}

}  // namespace melflow::models
