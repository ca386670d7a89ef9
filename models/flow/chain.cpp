#include "models/flow/chain.h"

#include <string>

namespace melflow::models {

Chain::Chain(std::vector<std::shared_ptr<Bijection>> parts) : parts_(std::move(parts)) {
  for (size_t i = 0; i < parts_.size(); ++i) register_module(std::to_string(i), parts_[i]);
}

namespace {

Mapped follow(const Mapped& so_far, const Mapped& step, bool first) {
  if (first) return step;
  return {step.value, so_far.log_det + step.log_det, add_local(so_far.local, step.local)};
}

}  // namespace

Mapped Chain::forward(const torch::Tensor& x, const torch::Tensor& context) {
  Mapped out{x, no_volume(x)};
  for (auto part = parts_.begin(); part != parts_.end(); ++part) {
    out = follow(out, (*part)->forward(out.value, context), part == parts_.begin());
  }
  return out;
}

Mapped Chain::inverse(const torch::Tensor& z, const torch::Tensor& context) {
  Mapped out{z, no_volume(z)};
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
    out = follow(out, (*part)->inverse(out.value, context), part == parts_.rbegin());
  }
  return out;
}

Inverse::Inverse(std::shared_ptr<Bijection> part) : part_(register_module("part", std::move(part))) {}

Mapped Inverse::forward(const torch::Tensor& x, const torch::Tensor& context) { return part_->inverse(x, context); }

Mapped Inverse::inverse(const torch::Tensor& z, const torch::Tensor& context) { return part_->forward(z, context); }

}  // namespace melflow::models
