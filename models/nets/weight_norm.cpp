#include "models/nets/weight_norm.h"

#include <cmath>

#include "models/drawing.h"

namespace melflow::models {
namespace {

torch::Tensor row_norm(const torch::Tensor& v) { return v.flatten(1).norm(2, {1}).view({-1, 1, 1}); }

}  // namespace

WeightNormConv1d::WeightNormConv1d(const Options& o) : dilation_(o.dilation), padding_(o.padding) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(o.in_channels * o.kernel_size));
  bias = register_parameter("bias", drawn_uniform({o.out_channels}, bound));
  const auto v = drawn_uniform({o.out_channels, o.in_channels, o.kernel_size}, bound);
  weight_g =
      register_parameter("weight_g", WithoutDrawing::active() ? torch::empty({o.out_channels, 1, 1}) : row_norm(v));
  weight_v = register_parameter("weight_v", v);
}

torch::Tensor WeightNormConv1d::weight() const { return at::_weight_norm(weight_v, weight_g, 0); }

torch::Tensor WeightNormConv1d::forward(const torch::Tensor& x) {
  return torch::conv1d(x, weight(), bias, /*stride=*/1, padding_, dilation_);
}

}  // namespace melflow::models
