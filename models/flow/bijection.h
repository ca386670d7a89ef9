#pragma once

#include <stdexcept>
#include <string>

#include <torch/torch.h>

namespace melflow::models {

/// What a bijection answers: the mapped value and ln|det ∂value/∂input|, one number for each batch entry [batch].
/// `local` is the share of each position in time, [batch, positions], summing to log_det, where the bijection knows
/// it (scores by the frame need it); undefined elsewhere.
struct Mapped {
  torch::Tensor value, log_det, local = {};
};

/// The input of a bijection, found again: x is a leaf of autograd, `again` is forward(x, context) with its graph.
struct Retraced {
  torch::Tensor x;
  Mapped again;
};

/// An inverse that exists, and that single precision has lost: of weights that no training comes to.
struct NoInverse : std::domain_error {
  using std::domain_error::domain_error;
};

/// z = f(x | context). The direction is fixed here, once: forward is data → noise, inverse is noise → data.
/// Value and log-determinant come from one call, so that they cannot disagree. The first dimension is the batch.
class Bijection : public torch::nn::Module {
 public:
  virtual Mapped forward(const torch::Tensor& x, const torch::Tensor& context = {}) = 0;
  virtual Mapped inverse(const torch::Tensor& z, const torch::Tensor& context = {}) = 0;

  /// What forward() mapped to z, for a backward pass that kept nothing else (reversible.h). With gradients enabled.
  virtual Retraced retrace(const torch::Tensor& z, const torch::Tensor& context) {
    torch::Tensor x;
    {
      const torch::NoGradGuard no_grad;
      x = inverse(z, context).value.detach();
    }
    x.set_requires_grad(true);
    return {x, forward(x, context)};
  }

  /// What is wrong with the buffers of a bijection that was read from a file; empty: nothing.
  virtual std::string wrong_buffers() const { return {}; }
};

/// The log-determinant of a map that moves no volume: zeros [batch], of x's type and device.
inline torch::Tensor no_volume(const torch::Tensor& x) { return torch::zeros({x.size(0)}, x.options()); }

/// Adds the shares of two maps that follow each other; undefined unless both know theirs.
inline torch::Tensor add_local(const torch::Tensor& a, const torch::Tensor& b) {
  return a.defined() && b.defined() ? a + b : torch::Tensor();
}

}  // namespace melflow::models
