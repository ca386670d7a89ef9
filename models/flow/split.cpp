#include "models/flow/split.h"

namespace melflow::models {
namespace {

template <typename Map>
Mapped around(const torch::Tensor& value, int64_t early, Map&& map) {
  TORCH_CHECK(value.size(1) > early, "Split: ", early, " early channels of ", value.size(1), " leave nothing");
  auto rest = map(value.narrow(1, early, value.size(1) - early));
  return {torch::cat({value.narrow(1, 0, early), rest.value}, 1), rest.log_det, rest.local};
}

}  // namespace

Split::Split(int64_t early_channels, std::shared_ptr<Bijection> rest)
    : early_(early_channels), rest_(register_module("rest", std::move(rest))) {}

Mapped Split::forward(const torch::Tensor& x, const torch::Tensor& context) {
  return around(x, early_, [&](const torch::Tensor& part) { return rest_->forward(part, context); });
}

Mapped Split::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  return around(z, early_, [&](const torch::Tensor& part) { return rest_->inverse(part, context); });
}

}  // namespace melflow::models
