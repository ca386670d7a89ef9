#include "models/nets/conv_net.h"

namespace melflow::models {

ConvNet::ConvNet(const Options& o) {
  const auto conv = [](int64_t in, int64_t out, int64_t size) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, size).padding(size / 2));
  };
  first_ = register_module("first", conv(o.in, o.hidden, 3));
  middle_ = register_module("middle", conv(o.hidden, o.hidden, 1));
  last_ = register_module("last", conv(o.hidden, o.out, 3));
  log_gain_ = register_parameter("log_gain", torch::zeros({o.out, 1, 1}));
  if (o.context > 0) {
    context_ = register_module("context", torch::nn::Linear(torch::nn::LinearOptions(o.context, o.hidden).bias(false)));
  }
  torch::NoGradGuard no_grad;
  last_->weight.zero_();
  last_->bias.zero_();
}

torch::Tensor ConvNet::forward(const torch::Tensor& x, const torch::Tensor& context) {
  auto h = first_->forward(x);
  if (context_) h = h + context_->forward(context).unsqueeze(2).unsqueeze(3);
  h = middle_->forward(h.relu_()).relu_();
  return last_->forward(h) * (log_gain_ * 3).exp();
}

}  // namespace melflow::models
