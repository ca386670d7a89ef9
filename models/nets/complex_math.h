#pragma once

#include <torch/torch.h>

namespace melflow::models {

// Complex numbers by LibTorch's vectors: its own exp and abs take them one at a time on a CPU.

/// eᶻ; a seventh of the time of torch::exp.
inline torch::Tensor complex_exp(const torch::Tensor& z) {
  return torch::polar(torch::exp(torch::real(z)), torch::imag(z));
}

/// |z| where its square is neither beyond the type's range nor, if it matters, below; half the time of abs(). Where
/// gradients are wanted abs(), which has one at 0.
inline torch::Tensor modulus(const torch::Tensor& z) {
  if (torch::GradMode::is_enabled()) return z.abs();
  const auto re = torch::real(z).contiguous(), im = torch::imag(z).contiguous();
  return torch::addcmul(re * re, im, im).sqrt_();
}

}  // namespace melflow::models
