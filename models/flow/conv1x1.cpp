#include "models/flow/conv1x1.h"

namespace melflow::models {

Conv1x1::Conv1x1(int64_t channels) {
  auto [q, r] = torch::linalg_qr(torch::randn({channels, channels}));
  if (torch::linalg_det(q).item<float>() < 0) q.select(1, 0).neg_();
  weight = register_parameter("weight", q.contiguous());
}

Mapped Conv1x1::apply(const torch::Tensor& matrix, const torch::Tensor& log_abs_det, const torch::Tensor& x) const {
  TORCH_CHECK(x.size(1) == weight.size(0), "Conv1x1: ", weight.size(0), " channels wanted, got ", x.sizes());
  const auto flat = x.flatten(2);
  const auto value = torch::matmul(matrix, flat).view_as(x);
  return {value, log_abs_det.mul(static_cast<double>(flat.size(2))).expand({x.size(0)}),
          x.dim() == 3 ? log_abs_det.expand({x.size(0), x.size(2)}) : torch::Tensor()};
}

// The determinant's sign is nobody's business: slogdet keeps a reflection from becoming a NaN, as ln(det W) would.
Mapped Conv1x1::forward(const torch::Tensor& x, const torch::Tensor&) {
  return apply(weight, std::get<1>(torch::linalg_slogdet(weight)), x);
}

// Inverted in double at every call: it costs nothing beside the rest, and is never stale.
Mapped Conv1x1::inverse(const torch::Tensor& z, const torch::Tensor&) {
  const auto inverse = torch::linalg_inv(weight.to(torch::kFloat64)).to(weight.scalar_type());
  return apply(inverse, -std::get<1>(torch::linalg_slogdet(weight)), z);
}

}  // namespace melflow::models
