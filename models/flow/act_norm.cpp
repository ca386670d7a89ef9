#include "models/flow/act_norm.h"

#include "models/flow/positions.h"

namespace melflow::models {

ActNorm::ActNorm(int64_t channels, Start start) {
  log_s_ = register_parameter("log_s", torch::zeros({channels}));
  b_ = register_parameter("b", torch::zeros({channels}));
  initialized_ = register_buffer("initialized", torch::full({1}, start == Start::identity ? 1.0f : 0.0f));
}

void ActNorm::initialise(const torch::Tensor& x) {
  if (known_initialized_) return;
  known_initialized_ = initialized_.item<double>() > 0;
  if (known_initialized_ || !is_training()) return;
  torch::NoGradGuard no_grad;
  const auto rows = x.transpose(0, 1).flatten(1);
  const auto std = rows.size(1) > 1 ? rows.std(1, /*unbiased=*/false) : torch::zeros_like(b_);
  log_s_.copy_(torch::where(std > 1e-6, -std.clamp_min(1e-6).log(), torch::zeros_like(std)));
  b_.copy_(-rows.mean(1) * log_s_.exp());
  initialized_.fill_(1);
  known_initialized_ = true;
}

Mapped ActNorm::forward(const torch::Tensor& x, const torch::Tensor&) {
  initialise(x);
  const auto log_det = (log_s_.sum() * static_cast<double>(positions(x))).expand({x.size(0)});
  return {torch::addcmul(by_channel(b_, x), x, by_channel(log_s_.exp(), x)), log_det};
}

Mapped ActNorm::inverse(const torch::Tensor& z, const torch::Tensor&) {
  const auto log_det = (log_s_.sum() * -static_cast<double>(positions(z))).expand({z.size(0)});
  return {(z - by_channel(b_, z)) * by_channel((-log_s_).exp(), z), log_det};
}

Standardise::Standardise(int64_t channels) {
  mean_ = register_buffer("mean", torch::zeros({channels}));
  log_std_ = register_buffer("log_std", torch::zeros({channels}));
}

void Standardise::fit(const torch::Tensor& x) {
  torch::NoGradGuard no_grad;
  const auto rows = x.to(torch::kFloat64);
  const auto std = rows.std(0, /*unbiased=*/false);
  mean_.copy_(rows.mean(0));
  log_std_.copy_(torch::where(std > 0, std, torch::ones_like(std)).log());
}

Mapped Standardise::forward(const torch::Tensor& x, const torch::Tensor&) {
  const auto log_det = (log_std_.sum() * -static_cast<double>(positions(x))).expand({x.size(0)});
  return {(x - by_channel(mean_, x)) * by_channel((-log_std_).exp(), x), log_det};
}

Mapped Standardise::inverse(const torch::Tensor& z, const torch::Tensor&) {
  const auto log_det = (log_std_.sum() * static_cast<double>(positions(z))).expand({z.size(0)});
  return {torch::addcmul(by_channel(mean_, z), z, by_channel(log_std_.exp(), z)), log_det};
}

}  // namespace melflow::models
