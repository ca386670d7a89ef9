#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace melflow::engine {

/// Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019), over all parameters at once:
/// LibTorch's fused kernel, a pass over memory on a CPU and some launches on a GPU, where torch::optim::Adam takes ten
/// of either for each tensor.
class Adam {
 public:
  struct Options {
    double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    double weight_decay = 0;  ///< weights shrink by rate · weight_decay a step
  };

  /// Parameters of one type, all on one device, where they must stay.
  Adam(std::vector<torch::Tensor> parameters, const Options& options);

  void zero_grad();
  /// Scales the gradients together so that their 2-norm is at most `limit`; 0: leaves them. Their norm before.
  double clip(double limit);
  /// p -= rate · (m / (1 - beta1^t)) / (√(v / (1 - beta2^t)) + epsilon). What has no gradient stays as it is.
  void step(double rate);

  /// Steps done: t of the next is one more.
  int64_t steps = 0;
  /// Moving averages of the gradients and of their squares, in the parameters' order.
  const std::vector<torch::Tensor>& means() const { return means_; }
  const std::vector<torch::Tensor>& squares() const { return squares_; }

 private:
  std::vector<torch::Tensor> parameters_, means_, squares_;
  Options options_;
};

}  // namespace melflow::engine
