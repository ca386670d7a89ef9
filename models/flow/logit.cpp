#include "models/flow/logit.h"

#include <cmath>

#include "models/flow/flow.h"

namespace melflow::models {

Logit::Logit(double levels, double alpha) : levels_(levels), alpha_(alpha) {
  TORCH_CHECK(levels > 0 && alpha > 0 && alpha < 0.5, "Logit: levels ", levels, ", alpha ", alpha);
}

// -ln p - ln(1 - p) = softplus(z) + softplus(-z): finite however far out z is.
torch::Tensor Logit::log_det(const torch::Tensor& z) const {
  const double each = std::log((1 - 2 * alpha_) / levels_);
  return sum_item(torch::softplus(z) + torch::softplus(-z)) + each * static_cast<double>(z.numel() / z.size(0));
}

Mapped Logit::forward(const torch::Tensor& x, const torch::Tensor&) {
  const auto p = x * ((1 - 2 * alpha_) / levels_) + alpha_;
  const auto z = torch::logit(p);
  return {z, log_det(z)};
}

Mapped Logit::inverse(const torch::Tensor& z, const torch::Tensor&) {
  return {(torch::sigmoid(z) - alpha_) * (levels_ / (1 - 2 * alpha_)), -log_det(z)};
}

}  // namespace melflow::models
