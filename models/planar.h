#pragma once

#include <memory>

#include "models/flow/closed.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// Planar flow (Rezende & Mohamed 2015, eq. 10-12 and appendix A.1):
///   y = x + û tanh(w·x + b);  log|det| = ln(1 + s tanh'(w·x + b)),  s = w·û.
/// û = u + (m(w·u) - w·u) w/‖w‖² with m(a) = -1 + δ + softplus(a), so s = m(w·u) > -1 and the map is invertible; δ =
/// 10⁻³ bounds how ill-conditioned its inverse can get. inverse: a = w·x + b solves a + s tanh a = c = w·y + b,
/// strictly increasing in a; in double, bisection between the bounds c ± |s| and then Newton's steps that stay inside.
/// An error ε of tanh a is one of x by ‖û‖ ε: TORCH_CHECKs that this is at most 10⁻⁵ for the û, w, b and y that are
/// given. (What their own rounding costs in single precision comes on top: up to 1/δ of it, where the map is flat.)
/// Parameters [2D + 1] u, w, b; a context adds a linear function of itself to them. x: [batch, D].
class Planar : public Bijection {
 public:
  explicit Planar(int64_t dimensions, int64_t context = 0);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  struct Terms {
    torch::Tensor u_hat, w, b, s;  // [batch or 1, D], the same, [batch or 1], the same
  };
  Terms terms(const torch::Tensor& context);

  int64_t dimensions_;
  torch::Tensor parameters_;
  torch::nn::Linear context_{nullptr};
};

struct PlanarOptions {
  int64_t layers = 16;
  Closed closed = Closed::density;
};
std::shared_ptr<Bijection> make_planar(const FlowShape& shape, const PlanarOptions& options);

/// The numbers in all layers: what a model costs, known before it is built.
inline double weight_count(const FlowShape& shape, const PlanarOptions& o) {
  return static_cast<double>(o.layers) * static_cast<double>((2 * shape.channels + 1) * (1 + shape.context));
}

template <typename Visit>
void fields(PlanarOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("closed", o.closed);
}

}  // namespace melflow::models
