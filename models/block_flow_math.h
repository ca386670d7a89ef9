#pragma once

#include <torch/torch.h>

namespace melflow::models {

inline torch::Tensor pad_left_right(const torch::Tensor& t, int64_t left, int64_t right) {
  return torch::constant_pad_nd(t, {left, right});
}

/// Within ±limit, whose shape broadcasts.
inline torch::Tensor limited(const torch::Tensor& t, const torch::Tensor& limit) {
  return torch::minimum(torch::maximum(t, -limit), limit);
}

}  // namespace melflow::models
