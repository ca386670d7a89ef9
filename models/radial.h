#pragma once

#include <memory>

#include "models/flow/closed.h"
#include "models/flow/flow.h"

namespace melflow::models {

/// Radial flow (Rezende & Mohamed 2015, eq. 14 and appendix A.2), with r = ‖x - x0‖:
///   y = x + β h (x - x0),  h = 1/(α + r);
///   log|det| = (D - 1) ln(1 + β h) + ln(1 + α β / (α + r)²).
/// α = softplus(α'), β = -α + γ with γ = softplus(β'), so β > -α. Both logarithms are taken of quotients of sums of
/// positive numbers, (r + γ)/(α + r) and (r² + 2αr + αγ)/(α + r)²: nothing cancels.
/// inverse in closed form: with ρ = ‖y - x0‖ and p = ρ - γ the radius is the positive root of r² - p r - α ρ = 0.
/// Parameters [D + 2] x0, α', β'; a context adds a linear function of itself to them. x: [batch, D].
class Radial : public Bijection {
 public:
  explicit Radial(int64_t dimensions, int64_t context = 0);
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) override;

 private:
  struct Terms {
    torch::Tensor centre, alpha, gamma;  // [batch or 1, D], [batch or 1], the same
  };
  Terms terms(const torch::Tensor& context);
  /// The forward log-determinant at radius r.
  torch::Tensor log_det(const torch::Tensor& r, const Terms& t) const;

  int64_t dimensions_;
  torch::Tensor parameters_;
  torch::nn::Linear context_{nullptr};
};

struct RadialOptions {
  int64_t layers = 16;
  Closed closed = Closed::density;
};
std::shared_ptr<Bijection> make_radial(const FlowShape& shape, const RadialOptions& options);

/// The numbers in all layers: what a model costs, known before it is built.
inline double weight_count(const FlowShape& shape, const RadialOptions& o) {
  return static_cast<double>(o.layers) * static_cast<double>((shape.channels + 2) * (1 + shape.context));
}

template <typename Visit>
void fields(RadialOptions& o, Visit&& visit) {
  visit("layers", o.layers);
  visit("closed", o.closed);
}

}  // namespace melflow::models
