#include "models/flow/autoregressive.h"

#include "models/nets/made_rows.h"

namespace melflow::models {

MaskedAutoregressive::MaskedAutoregressive(const Made::Options& options, Scale scale)
    : scale_(scale), net_(register_module("net", std::make_shared<Made>(options))) {
  TORCH_CHECK(options.outputs == 2, "MaskedAutoregressive: MADE must answer a mean and a scale");
}

Mapped MaskedAutoregressive::forward(const torch::Tensor& x, const torch::Tensor& context) {
  if (!at::GradMode::is_enabled() && x.is_cpu()) return made_forward(*net_, scale_, x, net_->context_bias(context));
  const auto out = net_->forward(x, context).chunk(2, 1);
  const auto alpha = log_scale(out[1], scale_);
  return {(x - out[0]) * (-alpha).exp(), -alpha.sum(1)};
}

Mapped MaskedAutoregressive::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  if (at::GradMode::is_enabled() || !z.is_cpu()) return inverse_by_passes(z, context);
  return made_inverse(*net_, scale_, z, net_->context_bias(context));
}

Mapped MaskedAutoregressive::inverse_by_passes(const torch::Tensor& z, const torch::Tensor& context) {
  const auto weights = net_->masked_weights();
  const auto bias = net_->context_bias(context);
  auto x = torch::zeros_like(z);
  torch::Tensor alpha;
  for (int64_t known = 0; known < z.size(1); ++known) {
    const auto out = net_->apply(weights, bias, x).chunk(2, 1);
    alpha = log_scale(out[1], scale_);
    x = torch::addcmul(out[0], z, alpha.exp());
  }
  return {x, alpha.sum(1)};
}

}  // namespace melflow::models
