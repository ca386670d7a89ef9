#include "models/flow/batch_norm.h"

#include "models/flow/positions.h"

namespace melflow::models {
namespace {

constexpr double kEpsilon = 1e-5;

}  // namespace

BatchNorm::BatchNorm(int64_t channels, double momentum) : momentum_(momentum) {
  log_gamma_ = register_parameter("log_gamma", torch::zeros({channels}));
  beta_ = register_parameter("beta", torch::zeros({channels}));
  mean_ = register_buffer("mean", torch::zeros({channels}));
  variance_ = register_buffer("variance", torch::ones({channels}));
}

Mapped BatchNorm::forward(const torch::Tensor& x, const torch::Tensor&) {
  auto mean = mean_, variance = variance_;
  if (is_training() && x.size(0) * positions(x) > 1) {
    const auto rows = x.dim() == 2 ? x : x.transpose(1, -1).flatten(0, -2);
    std::tie(variance, mean) = torch::var_mean(rows, {0}, /*unbiased=*/false);
    torch::NoGradGuard no_grad;
    mean_.lerp_(mean, momentum_);
    variance_.lerp_(variance, momentum_);
  }
  const auto log_s = log_gamma_ - (variance + kEpsilon).log() * 0.5;
  const auto log_det = (log_s.sum() * static_cast<double>(positions(x))).expand({x.size(0)});
  return {torch::addcmul(by_channel(beta_, x), x - by_channel(mean, x), by_channel(log_s.exp(), x)), log_det};
}

Mapped BatchNorm::inverse(const torch::Tensor& z, const torch::Tensor&) {
  const auto log_s = (variance_ + kEpsilon).log() * 0.5 - log_gamma_;
  const auto log_det = (log_s.sum() * static_cast<double>(positions(z))).expand({z.size(0)});
  return {torch::addcmul(by_channel(mean_, z), z - by_channel(beta_, z), by_channel(log_s.exp(), z)), log_det};
}

std::string BatchNorm::wrong_buffers() const {
  return (variance_ >= 0).all().item<bool>() ? "" : "its 'variance' is below 0";
}

}  // namespace melflow::models
