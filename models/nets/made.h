#pragma once

#include <vector>

#include "models/flow/cached.h"
#include "models/flow/coupling.h"

namespace melflow::models {

/// Masked autoencoder (Germain et al. 2015; MAF, section 2.3): a fully connected network whose outputs for dimension i
/// depend only on the dimensions before i in `order`, and on the context. Unit j of a hidden layer has a degree, the
/// number of leading dimensions it may see; degrees rise with j, so that a prefix of the units needs a prefix of x.
/// x: [batch, dimensions] → [batch, outputs·dimensions], output k of dimension i in column k·dimensions + i.
class Made : public Conditioner {
 public:
  struct Options {
    int64_t dimensions, outputs = 2, hidden = 64, hidden_layers = 2, context = 0;
    bool reversed = false;   ///< dimensions in the order D-1 … 0
    double input_limit = 0;  ///< heard()

    /// Numbers in all matrices.
    double weight_count() const {
      const auto n = [](int64_t size) { return static_cast<double>(size); };
      return n(hidden) * (n(dimensions) * n(1 + outputs) + n(hidden) * n(hidden_layers - 1) + n(context));
    }
  };
  explicit Made(const Options& options);
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& context) override;
  /// The same from masked_weights() and context_bias(context), for those who call it again and again.
  torch::Tensor apply(const std::vector<torch::Tensor>& weights, const torch::Tensor& context_bias,
                      const torch::Tensor& x) const;

  const Options& options() const { return options_; }
  int64_t dimension_at(int64_t place) const { return options_.reversed ? options_.dimensions - 1 - place : place; }
  /// How many units of each hidden layer see at most the first `known` dimensions.
  int64_t units_of(int64_t known) const { return units_of_[static_cast<size_t>(known)]; }
  /// Weights with their masks applied, and biases, layer after layer.
  const std::vector<torch::Tensor>& masked_weights();
  const torch::Tensor& bias(size_t layer) const { return layers_[layer]->bias; }
  /// What the context adds to the first hidden layer, [batch, hidden]; undefined without a context.
  torch::Tensor context_bias(const torch::Tensor& context) const;

 private:
  Options options_;
  std::vector<torch::nn::Linear> layers_;
  std::vector<torch::Tensor> masks_;  // not in the file: they follow from the options
  torch::nn::Linear context_{nullptr};
  std::vector<int64_t> units_of_;
  Cached weights_;
};

}  // namespace melflow::models
