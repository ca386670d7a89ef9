#include "models/flow/flow.h"

namespace melflow::models {

std::vector<int64_t> FlowShape::sizes(int64_t batch) const {
  if (image()) return {batch, channels, height, width};
  return {batch, channels};
}

void FlowShape::validate() const {
  TORCH_CHECK(channels > 0 && context >= 0 && (height > 0) == (width > 0) && height >= 0, "FlowShape: channels ",
              channels, ", height ", height, ", width ", width, ", context ", context);
}

torch::Tensor log_prob_of(const Mapped& z) {
  const auto numbers = static_cast<double>(z.value.numel() / std::max<int64_t>(1, z.value.size(0)));
  return z.log_det - sum_item(z.value.square()) * 0.5 - kHalfLog2Pi * numbers;
}

Flow::Flow(const FlowShape& shape, std::shared_ptr<Bijection> bijection)
    : shape_(shape), bijection_(register_module("bijection", std::move(bijection))) {
  shape_.validate();
}

void Flow::check(const torch::Tensor& x, const torch::Tensor& context) const {
  TORCH_CHECK(x.sizes() == torch::IntArrayRef(shape_.sizes(x.size(0))), "Flow: wants items of ",
              torch::IntArrayRef(shape_.sizes(x.size(0))), ", got ", x.sizes());
  TORCH_CHECK(context.defined() == (shape_.context > 0), "Flow: context of ", shape_.context, " numbers wanted");
  TORCH_CHECK(
      !context.defined() || (context.dim() == 2 && context.size(0) == x.size(0) && context.size(1) == shape_.context),
      "Flow: context ", context.sizes(), " for ", x.size(0), " items of ", shape_.context);
}

torch::Tensor Flow::log_prob(const torch::Tensor& x, const torch::Tensor& context) {
  check(x, context);
  return log_prob_of(bijection_->forward(x, context));
}

Flow::Drawn Flow::draw(const torch::Tensor& z, const torch::Tensor& context) {
  check(z, context);
  const auto x = bijection_->inverse(z, context);
  const auto base = sum_item(z.square()) * -0.5 - kHalfLog2Pi * static_cast<double>(shape_.numel());
  return {x.value, base - x.log_det};
}

}  // namespace melflow::models
