#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include <torch/nn/module.h>

#include "audio/mel.h"
#include "engine/files/safetensors.h"
#include "engine/noise.h"

namespace melflow::engine {

/// The bridge between the rooms: plain arrays of audio/ and engine/files/ ↔ tensors of models/. Everything is copied.

torch::Tensor mel_tensor(const audio::Mel& mel);  ///< [1, n_mels, frames] float32
torch::Tensor vector_tensor(std::span<const float> values);
std::vector<float> tensor_vector(const torch::Tensor& tensor);  ///< float32, C order, from any device

/// Groups [first, first + count) of the noise, before sigma: [1, channels, count].
torch::Tensor noise_tensor(const Noise& noise, int64_t channels, int64_t first, int64_t count);

torch::Tensor tensor_from(const files::TensorView& view);  ///< the view's own type
files::Dtype dtype_of(const torch::Tensor& tensor);        ///< TORCH_CHECKs that the format knows the type

/// Keeps contiguous CPU copies of tensors alive beside the views into them, for write_safetensors.
class TensorTable {
 public:
  void add(const std::string& name, const torch::Tensor& tensor);
  const std::map<std::string, files::TensorView>& views() const { return views_; }

 private:
  std::vector<torch::Tensor> kept_;
  std::map<std::string, files::TensorView> views_;
};

/// All parameters and buffers of a model, as they are now.
TensorTable tensors_of(const torch::nn::Module& model);

}  // namespace melflow::engine
