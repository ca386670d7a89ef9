#pragma once

#include <torch/torch.h>

namespace melflow::models {

inline torch::Tensor pad_left_right(const torch::Tensor& t, int64_t left, int64_t right) {
  return torch::constant_pad_nd(t, {left, right});
}

}  // namespace melflow::models
