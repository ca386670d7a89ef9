#include "models/flow/coupling.h"

#include "models/flow/flow.h"

namespace melflow::models {
namespace {

/// log|det| of a scaling by exp(log_s): the whole sum, and by position where there is one position axis.
Mapped scaled(const torch::Tensor& value, const torch::Tensor& log_s) {
  if (log_s.dim() != 3) return {value, sum_item(log_s)};
  const auto local = log_s.sum(1);
  return {value, local.sum(1), local};
}

}  // namespace

std::span<const char* const> enum_names(Scale) {
  static constexpr const char* kNames[] = {"exp", "tanh", "sigmoid", "additive"};
  return kNames;
}

torch::Tensor log_scale(const torch::Tensor& raw, Scale scale) {
  constexpr double kLimit = 3;
  switch (scale) {
    case Scale::exp:
      return raw;
    case Scale::tanh:
      return (raw * (1 / kLimit)).tanh() * kLimit;
    case Scale::sigmoid:
      return torch::log_sigmoid(raw + 2);
    case Scale::additive:
      return torch::zeros_like(raw);
  }
  TORCH_CHECK(false, "log_scale: no such scale");
}

AffineCoupling::AffineCoupling(int64_t channels, std::shared_ptr<Conditioner> net, Keep keep, Scale scale)
    : kept_(channels / 2),
      moved_(channels - channels / 2),
      keep_(keep),
      scale_(scale),
      net_(register_module("net", std::move(net))) {}

torch::Tensor AffineCoupling::kept(const torch::Tensor& value) const {
  TORCH_CHECK(value.size(1) == kept_ + moved_, "AffineCoupling: ", kept_ + moved_, " channels wanted, got ",
              value.sizes());
  return value.narrow(1, keep_ == Keep::first ? 0 : moved_, kept_);
}

torch::Tensor AffineCoupling::moved(const torch::Tensor& value) const {
  return value.narrow(1, keep_ == Keep::first ? kept_ : 0, moved_);
}

AffineCoupling::Steering AffineCoupling::steer(const torch::Tensor& kept, const torch::Tensor& context) {
  const auto weights = net_->parameters();
  const auto own_type = weights.empty() ? kept.scalar_type() : weights.front().scalar_type();
  const auto out = net_->forward(kept.to(own_type), context).to(kept.scalar_type());
  return {out.narrow(1, 0, moved_), log_scale(out.narrow(1, moved_, moved_), scale_)};
}

template <typename Move>
Mapped AffineCoupling::around(const torch::Tensor& value, const torch::Tensor& context, Move&& move) {
  const auto same = kept(value);
  const auto [shift, log_s] = steer(same, context);
  const auto other = move(moved(value), shift, log_s);
  return scaled(keep_ == Keep::first ? torch::cat({same, other}, 1) : torch::cat({other, same}, 1), log_s);
}

Retraced AffineCoupling::retrace(const torch::Tensor& z, const torch::Tensor& context) {
  auto x = z.clone().set_requires_grad(true);
  const auto same = kept(x);
  const auto [shift, log_s] = steer(same, context);
  {
    const torch::NoGradGuard no_grad;
    // Past autograd's back: only the half that the network has not seen changes.
    moved(x.variable_data()).copy_((moved(z) - shift) / log_s.exp());
  }
  const auto other = moved(x) * log_s.exp() + shift;
  return {x, scaled(keep_ == Keep::first ? torch::cat({same, other}, 1) : torch::cat({other, same}, 1), log_s)};
}

Mapped AffineCoupling::forward(const torch::Tensor& x, const torch::Tensor& context) {
  return around(x, context, [](const torch::Tensor& half, const torch::Tensor& shift, const torch::Tensor& log_s) {
    return half * log_s.exp() + shift;
  });
}

Mapped AffineCoupling::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  auto out = around(z, context, [](const torch::Tensor& half, const torch::Tensor& shift, const torch::Tensor& log_s) {
    return (half - shift) / log_s.exp();
  });
  return {out.value, -out.log_det, out.local.defined() ? -out.local : out.local};
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
