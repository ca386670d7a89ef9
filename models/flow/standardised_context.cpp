#include "models/flow/standardised_context.h"

namespace melflow::models {
namespace {

constexpr double kLeastStd = 1e-30;  // of single precision, by which numbers can be divided

}  // namespace

StandardisedContext::StandardisedContext(int64_t numbers, std::shared_ptr<Bijection> inner)
    : mean_(register_buffer("context_mean", torch::zeros({numbers}))),
      std_(register_buffer("context_std", torch::ones({numbers}))),
      inner_(register_module("inner", std::move(inner))) {}

void StandardisedContext::fit(const torch::Tensor& context) {
  torch::NoGradGuard no_grad;
  const auto rows = context.to(torch::kFloat64);
  const auto std = rows.std(0, /*unbiased=*/false).to(torch::kFloat32);
  mean_.copy_(rows.mean(0));
  std_.copy_(torch::where(std > kLeastStd, std, torch::ones_like(std)));
}

std::string StandardisedContext::wrong_buffers() const {
  const bool sound = (mean_.isfinite() & std_.isfinite() & (std_ > kLeastStd)).all().item<bool>();
  return sound ? "" : "its 'context_mean' and 'context_std' are no means and deviations";
}

torch::Tensor StandardisedContext::standardised(const torch::Tensor& context) const { return (context - mean_) / std_; }

Mapped StandardisedContext::forward(const torch::Tensor& x, const torch::Tensor& context) {
  return inner_->forward(x, standardised(context));
}
Mapped StandardisedContext::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  return inner_->inverse(z, standardised(context));
}
Retraced StandardisedContext::retrace(const torch::Tensor& z, const torch::Tensor& context) {
  return inner_->retrace(z, standardised(context));
}

}  // namespace melflow::models
