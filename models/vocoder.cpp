#include "models/vocoder.h"

namespace melflow::models {

void Vocoder::start_from(const Vocoder& other) {
  torch::NoGradGuard no_grad;
  const auto theirs = other.named_parameters();
  for (const auto& p : named_parameters()) {
    const auto* weight = theirs.find(p.key());
    require(weight != nullptr && weight->sizes() == p.value().sizes(), "its model is another, at " + p.key());
    p.value().copy_(*weight);
  }
}

torch::Tensor nats_by_group(const Mapped& mapped, int64_t group_size) {
  return (mapped.value.square().sum(1) / 2 - mapped.local) / static_cast<double>(group_size);
}

}  // namespace melflow::models
