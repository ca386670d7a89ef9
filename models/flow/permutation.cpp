#include "models/flow/permutation.h"

namespace melflow::models {

Permutation::Permutation(int64_t channels) {
  order_ = register_buffer("order", torch::randperm(channels, torch::kFloat32));
}

Mapped Permutation::forward(const torch::Tensor& x, const torch::Tensor&) {
  return {x.index_select(1, order_.to(torch::kInt64)), no_volume(x)};
}

Mapped Permutation::inverse(const torch::Tensor& z, const torch::Tensor&) {
  return {z.index_select(1, order_.argsort()), no_volume(z)};
}

std::string Permutation::wrong_buffers() const {
  const auto sorted = std::get<0>(order_.sort());
  return sorted.equal(torch::arange(order_.size(0), order_.options())) ? "" : "its 'order' is no permutation";
}

}  // namespace melflow::models
