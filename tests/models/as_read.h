#pragma once

#include <torch/torch.h>

#include "cpu/tile_kernels.h"

namespace melflow::models {

/// What a product of this precision reads of float32, in double.
inline torch::Tensor as_read(cpu::Precision precision, const torch::Tensor& x) {
  return (precision == cpu::Precision::bf16 ? x.to(torch::kBFloat16) : x).to(torch::kFloat64);
}

/// ‖actual - expected‖/‖expected‖, of `expected` in double; of zeros, 0 where they are met.
inline double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  return ((actual.to(torch::kFloat64) - expected).norm() / (expected.norm() + 1e-30)).item<double>();
}

}  // namespace melflow::models
