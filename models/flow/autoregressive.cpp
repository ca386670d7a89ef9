#include "models/flow/autoregressive.h"

#include "models/nets/made_rows.h"

namespace melflow::models {

namespace {

Made::Options answering(Made::Options options, int64_t outputs) {
  options.outputs = outputs;
  return options;
}

}  // namespace

MaskedAutoregressive::MaskedAutoregressive(Made::Options options, std::shared_ptr<const Transform> transform)
    : transform_(std::move(transform)),
      net_(register_module("net", std::make_shared<Made>(answering(options, transform_->outputs())))) {}

Mapped MaskedAutoregressive::forward(const torch::Tensor& x, const torch::Tensor& context) {
  if (!at::GradMode::is_enabled() && x.is_cpu()) {
    return made_forward(*net_, *transform_, x, net_->context_bias(context));
  }
  const auto z = transform_->forward(x, net_->forward(x, context));
  return {z.value, z.log_slope.sum(1)};
}

Mapped MaskedAutoregressive::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  if (at::GradMode::is_enabled() || !z.is_cpu()) return inverse_by_passes(z, context);
  return made_inverse(*net_, *transform_, z, net_->context_bias(context));
}

Mapped MaskedAutoregressive::inverse_by_passes(const torch::Tensor& z, const torch::Tensor& context) {
  const auto weights = net_->masked_weights();
  const auto bias = net_->context_bias(context);
  Transform::Moved x{torch::zeros_like(z), {}};
  for (int64_t known = 0; known < z.size(1); ++known) {
    x = transform_->inverse(z, net_->apply(weights, bias, x.value));
  }
  return {x.value, x.log_slope.sum(1)};
}

}  // namespace melflow::models
