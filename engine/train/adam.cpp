#include "engine/train/adam.h"

#include <torch/torch.h>

namespace melflow::engine {

Adam::Adam(std::vector<torch::Tensor> parameters, const Options& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const auto& p : parameters_) {
    TORCH_CHECK(p.dtype() == parameters_[0].dtype() && p.device() == parameters_[0].device(),
                "Adam: parameters of several types or devices");
    means_.push_back(torch::zeros_like(p, torch::requires_grad(false)));
    squares_.push_back(torch::zeros_like(p, torch::requires_grad(false)));
  }
}

void Adam::zero_grad() {
  for (auto& p : parameters_) p.mutable_grad().reset();
}

double Adam::clip(double limit) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> gradients;
  for (const auto& p : parameters_) {
    if (p.grad().defined()) gradients.push_back(p.grad());
  }
  if (gradients.empty()) return 0;
  const double norm = torch::stack(torch::_foreach_norm(gradients)).norm().item<double>();
  if (limit > 0 && norm > limit) torch::_foreach_mul_(gradients, limit / norm);
  return norm;
}

void Adam::step(double rate) {
  torch::NoGradGuard no_grad;
  ++steps;
  std::vector<torch::Tensor> weights, gradients, means, squares;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const auto& p = parameters_[i];
    if (!p.grad().defined()) continue;
    weights.push_back(p);
    // The kernel goes through memory as it lies; autograd lays a gradient like its parameter, where that is dense.
    gradients.push_back(p.grad().strides() == p.strides() ? p.grad() : torch::empty_like(p).copy_(p.grad()));
    means.push_back(means_[i]);
    squares.push_back(squares_[i]);
  }
  if (weights.empty()) return;
  const auto t = torch::full({}, static_cast<double>(steps), weights[0].options().dtype(torch::kFloat32));
  const std::vector<torch::Tensor> steps_done(weights.size(), t);
  at::_fused_adamw_(weights, gradients, means, squares, {}, steps_done, rate, options_.beta1, options_.beta2,
                    options_.weight_decay, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false);
  // The kernel does not tell autograd, nor those who keep what follows from a weight (models/flow/cached.h).
  for (const auto& w : weights) w.unsafeGetTensorImpl()->bump_version();
}

}  // namespace melflow::engine
