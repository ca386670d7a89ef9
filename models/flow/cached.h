#pragma once

#include <utility>
#include <vector>

#include <torch/torch.h>

namespace melflow::models {

/// Something computed from parameters alone (a masked weight, an inverse), kept for as long as they do not change.
/// Only used where no gradient is wanted: a training computes it anew at every call. Not for
/// several threads at once.
class Cached {
 public:
  /// `of`: what the value is computed from. A changed value, type or device makes the cache compute again.
  template <typename Compute>
  const std::vector<torch::Tensor>& get(const std::vector<torch::Tensor>& of, Compute&& compute) {
    if (at::GradMode::is_enabled()) {
      seen_.clear();
      return values_ = compute();
    }
    std::vector<std::pair<const void*, int64_t>> now;
    for (const auto& t : of) now.emplace_back(t.data_ptr(), t.is_inference() ? -1 : t._version());
    if (seen_ != now || seen_.empty()) {
      values_ = compute();
      seen_ = std::move(now);
    }
    return values_;
  }

 private:
  std::vector<std::pair<const void*, int64_t>> seen_;
  std::vector<torch::Tensor> values_;
};

}  // namespace melflow::models
