#pragma once

#include <vector>

#include "models/flow/coupling.h"

namespace melflow::models {

/// Fully connected layers with ReLU between them; a context enters the first hidden layer by a matrix of its own.
/// The last layer starts as zeros, so that a coupling starts as the identity. x: [batch, in] → [batch, out].
class Mlp : public Conditioner {
 public:
  struct Options {
    int64_t in, out, hidden = 64, hidden_layers = 2, context = 0;
    double input_limit = 0;  ///< heard()

    /// Numbers in all matrices.
    double weight_count() const {
      const auto n = [](int64_t size) { return static_cast<double>(size); };
      return n(hidden) * (n(in) + n(hidden) * n(hidden_layers - 1) + n(out) + n(context));
    }
  };
  explicit Mlp(const Options& options);
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) override;

 private:
  double input_limit_;
  std::vector<torch::nn::Linear> layers_;
  torch::nn::Linear context_{nullptr};
};

}  // namespace melflow::models
