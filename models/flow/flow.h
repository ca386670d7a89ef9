#pragma once

#include <memory>
#include <vector>

#include "models/flow/bijection.h"

namespace melflow::models {

/// ½ln(2π): each dimension's share of the constant of a standard normal density.
inline constexpr double kHalfLog2Pi = 0.91893853320467274178;

/// What one item of data looks like: a row of `channels` numbers, or an image [channels, height, width]; and how many
/// numbers of context it may depend on (a class as one-hot, for one).
struct FlowShape {
  int64_t channels = 2, height = 0, width = 0, context = 0;

  bool image() const { return height > 0; }
  int64_t numel() const { return image() ? channels * height * width : channels; }
  /// [batch, channels] or [batch, channels, height, width].
  std::vector<int64_t> sizes(int64_t batch) const;
  void validate() const;
};

/// ln p(x) of each item, [batch], from what a bijection answers for x: log N(z; 0, I) + ln|det ∂z/∂x|.
torch::Tensor log_prob_of(const Mapped& z);

/// A normalizing flow: standard normal noise behind a bijection, log p(x) = log N(f(x); 0, I) + ln|det ∂f/∂x|.
class Flow : public torch::nn::Module {
 public:
  Flow(const FlowShape& shape, std::shared_ptr<Bijection> bijection);

  /// x: shape().sizes(batch), context: [batch, shape().context] or nothing → nats [batch]. Differentiable.
  torch::Tensor log_prob(const torch::Tensor& x, const torch::Tensor& context = {});

  struct Drawn {
    torch::Tensor x, log_prob;
  };
  /// Data from noise z of the data's shape, and its log-density under the flow where z is standard normal.
  /// Differentiable: what training by reverse KL needs. A temperature is a factor of z.
  Drawn draw(const torch::Tensor& z, const torch::Tensor& context = {});

  const FlowShape& shape() const { return shape_; }
  Bijection& bijection() { return *bijection_; }

 private:
  void check(const torch::Tensor& x, const torch::Tensor& context) const;

  FlowShape shape_;
  std::shared_ptr<Bijection> bijection_;
};

/// Σ over everything but the batch: [batch].
inline torch::Tensor sum_item(const torch::Tensor& x) { return x.dim() == 2 ? x.sum(1) : x.flatten(1).sum(1); }

}  // namespace melflow::models
