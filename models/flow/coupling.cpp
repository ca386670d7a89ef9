#include "models/flow/coupling.h"

namespace melflow::models {
namespace {

/// log|det| of a scaling by exp(log_s): the whole sum, and by position where there is one position axis.
Mapped scaled(const torch::Tensor& value, const torch::Tensor& log_s) {
  if (log_s.dim() != 3) return {value, log_s.flatten(1).sum(1)};
  const auto local = log_s.sum(1);
  return {value, local.sum(1), local};
}

}  // namespace

AffineCoupling::AffineCoupling(int64_t channels, std::shared_ptr<Conditioner> net)
    : kept_(channels / 2), moved_(channels - channels / 2), net_(register_module("net", std::move(net))) {}

Mapped AffineCoupling::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto kept = x.narrow(1, 0, kept_);
  const auto out = net_->forward(kept, context);
  const auto shift = out.narrow(1, 0, moved_), log_s = out.narrow(1, moved_, moved_);
  const auto moved = x.narrow(1, kept_, moved_) * log_s.exp() + shift;
  return scaled(torch::cat({kept, moved}, 1), log_s);
}

Mapped AffineCoupling::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  const auto kept = z.narrow(1, 0, kept_);
  const auto out = net_->forward(kept, context);
  const auto shift = out.narrow(1, 0, moved_), log_s = out.narrow(1, moved_, moved_);
  const auto moved = (z.narrow(1, kept_, moved_) - shift) / log_s.exp();
  return scaled(torch::cat({kept, moved}, 1), -log_s);
}

}  // namespace melflow::models
