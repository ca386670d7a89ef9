#pragma once

#include <torch/torch.h>

namespace melflow::models {

/// Positions an item [channels, positions…] has: 1 for a row.
inline int64_t positions(const torch::Tensor& x) { return x.numel() / std::max<int64_t>(1, x.size(0) * x.size(1)); }

/// A value for each channel, shaped so that it applies to x [batch, channels, positions…].
inline torch::Tensor by_channel(const torch::Tensor& value, const torch::Tensor& x) {
  if (x.dim() == 2) return value;
  std::vector<int64_t> sizes(static_cast<size_t>(x.dim() - 1), 1);
  sizes[0] = -1;
  return value.view(sizes);
}

}  // namespace melflow::models
