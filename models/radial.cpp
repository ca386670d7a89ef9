#include "models/radial.h"

namespace melflow::models {
namespace {

/// The norm with a finite gradient at 0.
torch::Tensor length(const torch::Tensor& d) { return (d.square().sum(1) + 1e-24).sqrt(); }

}  // namespace

Radial::Radial(int64_t dimensions, int64_t context) : dimensions_(dimensions) {
  auto start = torch::randn({dimensions + 2});
  // α and γ about 0.3: close to the identity, and narrow enough to find detail.
  start.narrow(0, dimensions, 2).mul_(0.3).sub_(1.1);
  parameters_ = register_parameter("parameters", start);
  if (context == 0) return;
  context_ =
      register_module("context", torch::nn::Linear(torch::nn::LinearOptions(context, dimensions + 2).bias(false)));
  torch::NoGradGuard no_grad;
  context_->weight.zero_();
}

Radial::Terms Radial::terms(const torch::Tensor& context) {
  constexpr double kSmallest = 1e-6;  // softplus runs out of numbers where its argument is far below zero
  const auto all = context_ ? parameters_ + context_->forward(context) : parameters_.unsqueeze(0);
  const auto positive = torch::softplus(all.narrow(1, dimensions_, 2)) + kSmallest;
  return {all.narrow(1, 0, dimensions_), positive.select(1, 0), positive.select(1, 1)};
}

torch::Tensor Radial::log_det(const torch::Tensor& r, const Terms& t) const {
  const auto far = (t.alpha + r).log();
  const auto across = (r + t.gamma).log() - far;
  const auto along = (r * (r + 2 * t.alpha) + t.alpha * t.gamma).log() - 2 * far;
  return across * static_cast<double>(dimensions_ - 1) + along;
}

Mapped Radial::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto t = terms(context);
  const auto d = x - t.centre;
  const auto r = length(d);
  const auto stretch = (t.gamma - t.alpha) / (t.alpha + r);  // β h
  return {torch::addcmul(x, d, stretch.unsqueeze(1)), log_det(r, t)};
}

Mapped Radial::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  const auto t = terms(context);
  const auto d = z - t.centre;
  const auto rho = length(d);
  const auto p = rho - t.gamma;
  const auto q = (p.square() + 4 * t.alpha * rho).sqrt();
  // The two forms of the positive root: each is taken where it adds numbers of one sign.
  const auto r = torch::where(p >= 0, (p + q) * 0.5, 2 * t.alpha * rho / (q - torch::minimum(p, torch::zeros_like(p))));
  const auto shrink = (t.alpha + r) / (r + t.gamma);  // 1/(1 + β h)
  return {t.centre + d * shrink.unsqueeze(1), -log_det(r, t)};
}

std::shared_ptr<Bijection> make_radial(const FlowShape& shape, const RadialOptions& o) {
  TORCH_CHECK(!shape.image() && o.layers > 0, "radial: takes rows of numbers, not images, and at least one layer");
  std::vector<std::shared_ptr<Bijection>> parts;
  for (int64_t i = 0; i < o.layers; ++i) parts.push_back(std::make_shared<Radial>(shape.channels, shape.context));
  return closed_stack(parts, o.closed, shape.channels);
}

}  // namespace melflow::models
