#include "models/flow/conv1x1.h"

#include "models/autocast.h"
#include "models/drawing.h"
#include "models/flow/positions.h"
#include "models/nets/row_linear.h"

namespace melflow::models {
namespace {

/// matrix · x at every position, in the type of x, under autocast too; `log_abs_det` is the matrix's.
Mapped mix(const torch::Tensor& weight, const torch::Tensor& of_weight, const torch::Tensor& x) {
  const Autocast in_full(x.device().type(), {.on = false});
  const auto matrix = weight.to(x.scalar_type()), log_abs_det = of_weight.to(x.scalar_type());
  TORCH_CHECK(x.size(1) == matrix.size(0), "Conv1x1: ", matrix.size(0), " channels wanted, got ", x.sizes());
  if (x.dim() == 2) return {apply_linear(x, matrix), log_abs_det.expand({x.size(0)})};
  const auto value = torch::matmul(matrix, x.flatten(2)).view_as(x);
  return {value, log_abs_det.mul(static_cast<double>(positions(x))).expand({x.size(0)}),
          x.dim() == 3 ? log_abs_det.expand({x.size(0), x.size(2)}) : torch::Tensor()};
}

/// In double: the inverse is used more often than it is computed, and is never far off.
torch::Tensor inverse_of(const torch::Tensor& matrix) { return torch::linalg_inv(matrix.to(torch::kFloat64)); }

}  // namespace

Conv1x1::Conv1x1(int64_t channels) {
  if (WithoutDrawing::active()) {
    weight = register_parameter("weight", torch::empty({channels, channels}));
    return;
  }
  auto [q, r] = torch::linalg_qr(torch::randn({channels, channels}));
  if (torch::linalg_det(q).item<float>() < 0) q.select(1, 0).neg_();
  weight = register_parameter("weight", q.contiguous());
}

// The determinant's sign is nobody's business: slogdet keeps a reflection from becoming a NaN, as ln(det W) would.
Mapped Conv1x1::forward(const torch::Tensor& x, const torch::Tensor&) {
  return mix(weight, std::get<1>(torch::linalg_slogdet(weight)), x);
}

// Inverted in double at every call: it costs nothing beside the rest, and is never stale.
Mapped Conv1x1::inverse(const torch::Tensor& z, const torch::Tensor&) {
  return mix(inverse_of(weight), -std::get<1>(torch::linalg_slogdet(weight)), z);
}

Conv1x1Lu::Conv1x1Lu(int64_t channels) {
  const auto q = std::get<0>(torch::linalg_qr(torch::randn({channels, channels}, torch::kFloat64)));
  const auto [p, l, u] = torch::linalg_lu(q);
  const auto s = u.diagonal();
  permutation_ = register_buffer("permutation", p.to(torch::kFloat32));
  sign_ = register_buffer("sign", s.sign().to(torch::kFloat32));
  lower_ = register_parameter("lower", l.tril(-1).to(torch::kFloat32));
  upper_ = register_parameter("upper", u.triu(1).to(torch::kFloat32));
  log_s_ = register_parameter("log_s", s.abs().log().to(torch::kFloat32));
}

std::string Conv1x1Lu::wrong_buffers() const {
  const auto ones = torch::ones_like(sign_);
  const bool permutes = ((permutation_ == 0) | (permutation_ == 1)).all().item<bool>() &&
                        permutation_.sum(0).equal(ones) && permutation_.sum(1).equal(ones);
  if (!permutes) return "its 'permutation' is none";
  return sign_.abs().equal(ones) ? "" : "its 'sign' is not 1 or -1";
}

torch::Tensor Conv1x1Lu::weight() const {
  const auto lower = lower_.tril(-1) + torch::eye(lower_.size(0), lower_.options());
  const auto upper = upper_.triu(1) + torch::diag(sign_ * log_s_.exp());
  return permutation_.matmul(lower).matmul(upper);
}

Mapped Conv1x1Lu::forward(const torch::Tensor& x, const torch::Tensor&) {
  const auto& kept = weight_.get({lower_, upper_, log_s_, permutation_, sign_}, [&]() -> std::vector<torch::Tensor> {
    return {weight(), log_s_.sum()};
  });
  return mix(kept[0], kept[1], x);
}

Mapped Conv1x1Lu::inverse(const torch::Tensor& z, const torch::Tensor&) {
  const auto& kept = inverse_.get({lower_, upper_, log_s_, permutation_, sign_}, [&]() -> std::vector<torch::Tensor> {
    return {inverse_of(weight()), -log_s_.sum()};
  });
  return mix(kept[0], kept[1], z);
}

}  // namespace melflow::models
