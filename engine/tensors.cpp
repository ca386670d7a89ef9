#include "engine/tensors.h"

#include <cstring>

#include <torch/torch.h>

namespace melflow::engine {
namespace {

struct TypePair {
  files::Dtype file;
  torch::ScalarType tensor;
};
constexpr TypePair kTypes[] = {{files::Dtype::f64, torch::kFloat64}, {files::Dtype::f32, torch::kFloat32},
                               {files::Dtype::f16, torch::kFloat16}, {files::Dtype::bf16, torch::kBFloat16},
                               {files::Dtype::i64, torch::kInt64},   {files::Dtype::i32, torch::kInt32},
                               {files::Dtype::i16, torch::kInt16},   {files::Dtype::i8, torch::kInt8},
                               {files::Dtype::u8, torch::kUInt8},    {files::Dtype::boolean, torch::kBool}};

}  // namespace

torch::Tensor vector_tensor(std::span<const float> values) {
  auto out = torch::empty({static_cast<int64_t>(values.size())});
  if (!values.empty()) std::memcpy(out.data_ptr<float>(), values.data(), values.size_bytes());
  return out;
}

torch::Tensor mel_tensor(const audio::Mel& mel) { return vector_tensor(mel.values).view({1, mel.n_mels, mel.frames}); }

std::vector<float> tensor_vector(const torch::Tensor& tensor) {
  const auto flat = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

torch::Tensor noise_tensor(const Noise& noise, int64_t channels, int64_t first, int64_t count) {
  auto out = torch::empty({1, count, channels});
  noise.fill(channels, first, count, std::span(out.data_ptr<float>(), static_cast<size_t>(out.numel())));
  return out.transpose(1, 2).contiguous();
}

torch::Tensor tensor_from(const files::TensorView& view) {
  for (const auto& [file, type] : kTypes) {
    if (file != view.dtype) continue;
    auto out = torch::empty(view.shape, type);
    if (!view.bytes.empty()) std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
    return out;
  }
  TORCH_CHECK(false, "tensor_from: no tensor type for ", files::name_of(view.dtype));
}

files::Dtype dtype_of(const torch::Tensor& tensor) {
  for (const auto& [file, type] : kTypes) {
    if (type == tensor.scalar_type()) return file;
  }
  TORCH_CHECK(false, "safetensors has no type for ", tensor.scalar_type());
}

void TensorTable::add(const std::string& name, const torch::Tensor& tensor) {
  const auto& kept = kept_.emplace_back(tensor.detach().to(torch::kCPU).contiguous());
  views_[name] = {dtype_of(kept),
                  kept.sizes().vec(),
                  {static_cast<const std::byte*>(kept.data_ptr()), static_cast<size_t>(kept.nbytes())}};
}

TensorTable tensors_of(const torch::nn::Module& model) {
  TensorTable table;
  for (const auto& p : model.named_parameters()) table.add(p.key(), p.value());
  for (const auto& b : model.named_buffers()) table.add(b.key(), b.value());
  return table;
}

}  // namespace melflow::engine
