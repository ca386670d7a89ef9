#pragma once

#include <memory>

#include "models/flow/bijection.h"

namespace melflow::models {

/// A bijection that hears its context brought to zero mean and unit variance, with numbers that come from the data once
/// and are not trained: (c - mean) / std. It moves nothing itself. context: [batch, numbers].
class StandardisedContext : public Bijection {
 public:
  StandardisedContext(int64_t numbers, std::shared_ptr<Bijection> inner);
  /// Takes mean and standard deviation of each column of context [items, numbers]; a constant one gets deviation 1.
  void fit(const torch::Tensor& context);
  /// Contexts like the data's, from standard normal ones [batch, numbers].
  torch::Tensor from_standard(const torch::Tensor& standard) const { return mean_ + standard * std_; }
  Mapped forward(const torch::Tensor& x, const torch::Tensor& context) override;
  Mapped inverse(const torch::Tensor& z, const torch::Tensor& context) override;
  std::string wrong_buffers() const override;
  Retraced retrace(const torch::Tensor& z, const torch::Tensor& context) override;

 private:
  torch::Tensor standardised(const torch::Tensor& context) const;

  torch::Tensor mean_, std_;
  std::shared_ptr<Bijection> inner_;
};

}  // namespace melflow::models
