#include "models/flow/coupling.h"

#include "models/flow/flow.h"

namespace melflow::models {

Coupling::Coupling(int64_t channels, std::shared_ptr<Conditioner> net, Keep keep,
                   std::shared_ptr<const Transform> transform)
    : kept_(channels / 2),
      moved_(channels - channels / 2),
      keep_(keep),
      transform_(std::move(transform)),
      net_(register_module("net", std::move(net))) {}

torch::Tensor Coupling::kept(const torch::Tensor& value) const {
  TORCH_CHECK(value.size(1) == kept_ + moved_, "Coupling: ", kept_ + moved_, " channels wanted, got ", value.sizes());
  return value.narrow(1, keep_ == Keep::first ? 0 : moved_, kept_);
}

torch::Tensor Coupling::moved(const torch::Tensor& value) const {
  return value.narrow(1, keep_ == Keep::first ? kept_ : 0, moved_);
}

torch::Tensor Coupling::steer(const torch::Tensor& kept, const torch::Tensor& context) {
  const auto weights = net_->parameters();
  const auto own_type = weights.empty() ? kept.scalar_type() : weights.front().scalar_type();
  return net_->forward(kept.to(own_type), context).to(kept.scalar_type());
}

Mapped Coupling::joined(const torch::Tensor& same, const Transform::Moved& other) const {
  const auto value = keep_ == Keep::first ? torch::cat({same, other.value}, 1) : torch::cat({other.value, same}, 1);
  if (other.log_slope.dim() != 3) return {value, sum_item(other.log_slope)};
  const auto local = other.log_slope.sum(1);  // there is one axis of positions
  return {value, local.sum(1), local};
}

Mapped Coupling::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto same = kept(x);
  return joined(same, transform_->forward(moved(x), steer(same, context)));
}

Mapped Coupling::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  const auto same = kept(z);
  return joined(same, transform_->inverse(moved(z), steer(same, context)));
}

Retraced Coupling::retrace(const torch::Tensor& z, const torch::Tensor& context) {
  auto x = z.clone().set_requires_grad(true);
  const auto same = kept(x);
  const auto raw = steer(same, context);
  {
    const torch::NoGradGuard no_grad;
    // Past autograd's back: only the half that the network has not seen changes.
    moved(x.variable_data()).copy_(transform_->inverse(moved(z), raw).value);
  }
  return {x, joined(same, transform_->forward(moved(x), raw))};
}

namespace {

/// [1, 1, height, width]: 1 where row + column is `parity`, modulo 2.
torch::Tensor checkerboard(int64_t height, int64_t width, int parity) {
  const auto sum = torch::arange(height).unsqueeze(1) + torch::arange(width).unsqueeze(0);
  return (sum % 2 == parity).to(torch::kFloat32).view({1, 1, height, width});
}

}  // namespace

CheckerboardCoupling::CheckerboardCoupling(int64_t height, int64_t width, int parity, std::shared_ptr<Conditioner> net,
                                           Scale scale)
    : parity_(parity), scale_(scale), net_(register_module("net", std::move(net))) {
  kept_ = register_buffer("kept", checkerboard(height, width, parity));
}

std::string CheckerboardCoupling::wrong_buffers() const {
  const auto board = checkerboard(kept_.size(2), kept_.size(3), parity_);
  return torch::equal(kept_.cpu(), board) ? "" : "its 'kept' is no checkerboard";
}

std::pair<torch::Tensor, torch::Tensor> CheckerboardCoupling::shift_and_log_s(const torch::Tensor& x,
                                                                              const torch::Tensor& context) {
  const auto out = net_->forward(x * kept_, context) * (1 - kept_);
  const auto half = out.chunk(2, 1);
  return {half[0], log_scale(half[1], scale_) * (1 - kept_)};
}

Mapped CheckerboardCoupling::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto [shift, log_s] = shift_and_log_s(x, context);
  return {torch::addcmul(shift, x, log_s.exp()), sum_item(log_s)};
}

Mapped CheckerboardCoupling::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  const auto [shift, log_s] = shift_and_log_s(z, context);
  return {(z - shift) * (-log_s).exp(), -sum_item(log_s)};
}

}  // namespace melflow::models
