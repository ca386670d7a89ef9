#include "models/planar.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace melflow::models {
namespace {

constexpr double kMargin = 1e-3;        // δ
constexpr double kLeastSquare = 1e-12;  // what is added to ‖w‖²
constexpr double kLargestError = 1e-5;  // of the inverse

/// tanh'(a), from tanh a.
torch::Tensor slope(const torch::Tensor& tanh_a) { return 1 - tanh_a.square(); }

/// A root of a + s tanh a = c, and how far tanh of it may be from tanh of the true one.
struct Root {
  torch::Tensor a, tanh_error;  // [batch], as s and c are
};

/// How far tanh a may be from tanh of the root that lies in [low, high]. With the residual r and f' = 1 + s tanh' a,
/// Newton's next step is r/f'; where it is at most f'/(2 |s|), the root is nearer than twice that (Kantorovich: |f''| ≤
/// |s|), and on the way tanh' grows by less than exp(4 r/f'). In either tail the bounds themselves say enough: tanh no
/// longer tells them apart. Infinity where a number is not finite.
torch::Tensor tanh_error(const torch::Tensor& a, const torch::Tensor& s, const torch::Tensor& c,
                         const torch::Tensor& low, const torch::Tensor& high) {
  constexpr double kRounding = 1e-15;  // of the residual, as a part of what it is the difference of
  const auto t = a.tanh(), rise = 1 + s * slope(t);
  const auto step = ((a + s * t - c).abs() + kRounding * (c.abs() + s.abs())) / rise;
  const auto near = 2 * slope(t) * step * (4 * step).clamp_max(700).exp();
  const auto unknown = torch::full_like(near, std::numeric_limits<double>::infinity());
  const auto found = torch::minimum(torch::where(step * s.abs() > 0.5 * rise, unknown, near), high.tanh() - low.tanh());
  return torch::where(rise > 0, found, unknown);  // s at or below -1: no map to invert
}

/// In double; s > -1. By halvings until the bounds are within 1/32768 of each other, then by Newton's steps.
Root root(const torch::Tensor& s, const torch::Tensor& c) {
  constexpr int kNewton = 4;
  constexpr double kMostMore = 64;  // halvings than of |s| ≤ 1
  const double largest = s.numel() > 0 ? std::max(1.0, s.abs().max().item<double>()) : 1.0;
  const int halvings = 16 + static_cast<int>(std::ceil(std::min(std::log2(largest), kMostMore)));
  auto low = c - s.abs(), high = c + s.abs();
  for (int i = 0; i < halvings; ++i) {
    const auto middle = (low + high) * 0.5;
    const auto above = middle + s * middle.tanh() > c;
    high = torch::where(above, middle, high);
    low = torch::where(above, low, middle);
  }
  auto a = (low + high) * 0.5;
  for (int i = 0; i < kNewton; ++i) {
    const auto t = a.tanh();
    const auto next = a - (a + s * t - c) / (1 + s * slope(t));
    a = torch::minimum(torch::maximum(next, low), high);
  }
  return {a, tanh_error(a, s, c, low, high)};
}

}  // namespace

Planar::Planar(int64_t dimensions, int64_t context) : dimensions_(dimensions) {
  const double limit = std::sqrt(2.0 / static_cast<double>(dimensions));
  auto start = torch::empty({2 * dimensions + 1}).uniform_(-limit, limit);
  start.narrow(0, 2 * dimensions, 1).zero_();
  parameters_ = register_parameter("parameters", start);
  if (context == 0) return;
  context_ =
      register_module("context", torch::nn::Linear(torch::nn::LinearOptions(context, 2 * dimensions + 1).bias(false)));
  torch::NoGradGuard no_grad;
  context_->weight.zero_();
}

Planar::Terms Planar::terms(const torch::Tensor& context) {
  const auto all = context_ ? parameters_ + context_->forward(context) : parameters_.unsqueeze(0);
  const auto d = dimensions_;
  const auto u = all.narrow(1, 0, d), w = all.narrow(1, d, d), b = all.select(1, 2 * d);
  const auto wu = (w * u).sum(1);
  const auto m = torch::softplus(wu) + (kMargin - 1), square = w.square().sum(1) + kLeastSquare;
  const auto u_hat = u + w * ((m - wu) / square).unsqueeze(1);
  // w·û, which is not quite m where w all but vanishes.
  return {u_hat, w, b, m - (m - wu) * (kLeastSquare / square)};
}

Mapped Planar::forward(const torch::Tensor& x, const torch::Tensor& context) {
  const auto [u_hat, w, b, s] = terms(context);
  const auto t = context_ ? ((x * w).sum(1) + b).tanh() : torch::addmv(b, x, w[0]).tanh();
  const auto log_det = torch::log1p(s * slope(t));
  return {context_ ? torch::addcmul(x, u_hat, t.unsqueeze(1)) : torch::addr(x, t, u_hat[0]), log_det};
}

Mapped Planar::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  const auto type = z.scalar_type();
  const auto [u_hat, w, b, s1] = terms(context);
  const auto y = z.to(torch::kFloat64);
  const auto c = (y * w.to(torch::kFloat64)).sum(1) + b.to(torch::kFloat64);
  const auto s = s1.to(torch::kFloat64).expand_as(c);
  torch::Tensor a;
  {
    torch::NoGradGuard no_grad;
    const auto found = root(s, c);
    const auto known = c.isfinite();  // what is no number has no root, and says so in its own row
    a = torch::where(known, found.a, std::numeric_limits<double>::quiet_NaN());
    const auto error = torch::where(known, found.tanh_error * u_hat.to(torch::kFloat64).norm(2, 1), 0.0);
    if (!(error <= kLargestError).all().item<bool>()) {
      throw NoInverse(c10::str("Planar: the inverse was not found to ", kLargestError, " (it may be off by ",
                               error.max().item<double>(), "); are the numbers finite?"));
    }
  }
  if (at::GradMode::is_enabled()) {  // one more step of Newton's carries the gradient of the implicit function
    const auto t = a.tanh();
    a = a - (a + s * t - c) / (1 + s * slope(t)).detach();
  }
  const auto t = a.tanh();
  const auto x = y - u_hat.to(torch::kFloat64) * t.unsqueeze(1);
  return {x.to(type), -torch::log1p(s * slope(t)).to(type)};
}

std::shared_ptr<Bijection> make_planar(const FlowShape& shape, const PlanarOptions& o) {
  TORCH_CHECK(!shape.image() && o.layers > 0, "planar: takes rows of numbers, not images, and at least one layer");
  std::vector<std::shared_ptr<Bijection>> parts;
  for (int64_t i = 0; i < o.layers; ++i) parts.push_back(std::make_shared<Planar>(shape.channels, shape.context));
  return closed_stack(parts, o.closed, shape.channels);
}

}  // namespace melflow::models
