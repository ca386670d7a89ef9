#include "models/nets/weight_norm.h"

#include <cmath>

namespace melflow::models {
namespace {

torch::Tensor row_norm(const torch::Tensor& v) { return v.flatten(1).norm(2, {1}).view({-1, 1, 1}); }

}  // namespace

WeightNormConv1d::WeightNormConv1d(const Options& o) : dilation_(o.dilation), padding_(o.padding) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(o.in_channels * o.kernel_size));
  bias = register_parameter("bias", torch::empty({o.out_channels}).uniform_(-bound, bound));
  const auto v = torch::empty({o.out_channels, o.in_channels, o.kernel_size}).uniform_(-bound, bound);
  weight_g = register_parameter("weight_g", row_norm(v));
  weight_v = register_parameter("weight_v", v);
}

torch::Tensor WeightNormConv1d::weight() const { return weight_v * (weight_g / row_norm(weight_v)); }

torch::Tensor WeightNormConv1d::forward(const torch::Tensor& x) {
  return torch::conv1d(x, weight(), bias, /*stride=*/1, padding_, dilation_);
}

}  // namespace melflow::models
