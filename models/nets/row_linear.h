#pragma once

#include <torch/torch.h>

namespace melflow::models {

/// y = x·Wᵀ + b of x [..., in], weight [out, in] and bias [out], which may be undefined: torch::linear, in single
/// precision on a CPU by the products of cpu/ where those are faster. LibTorch's are MKL's, which has AVX2 alone on
/// AMD's CPUs: half the peak of Zen 5. Where packing would not pay (few rows, a narrow side) they stay MKL's there,
/// too.
torch::Tensor apply_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias = {});
inline torch::Tensor apply_linear(const torch::Tensor& x, const torch::nn::Linear& layer) {
  return apply_linear(x, layer->weight, layer->bias);
}

/// The same by the products of cpu/, whatever the CPU and the sizes: float32 tensors on a CPU. Digits of a row depend
/// neither on the others nor on the number of threads, those of gradients not on the latter.
torch::Tensor row_linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias = {});

}  // namespace melflow::models
