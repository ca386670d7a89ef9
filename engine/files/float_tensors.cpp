#include "engine/files/float_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "engine/files/float_formats.h"

namespace melflow::files {
namespace {

constexpr uint32_t kExponent = 0x7f800000;  // all ones: infinity or NaN

/// Without a branch inside, so that it is vectorised; a block fits the nearest cache.
template <size_t kCount>
bool block_is_finite(const std::byte* block) {
  uint32_t bad = 0;
  for (size_t i = 0; i < kCount; ++i) {
    uint32_t bits;
    std::memcpy(&bits, block + i * sizeof bits, sizeof bits);
    bad |= (bits & kExponent) == kExponent ? 1u : 0u;
  }
  return bad == 0;
}

}  // namespace

bool all_finite(const TensorView& tensor) {
  constexpr size_t kBlock = 4096;
  const std::byte* at = tensor.bytes.data();
  size_t left = tensor.bytes.size() / sizeof(float);
  for (; left >= kBlock; left -= kBlock, at += kBlock * sizeof(float)) {
    if (!block_is_finite<kBlock>(at)) return false;
  }
  for (; left > 0; --left, at += sizeof(float)) {
    if (!block_is_finite<1>(at)) return false;
  }
  return true;
}

TensorView split_off_norms(TensorView& weight, Arrays& made) {
  const auto rows = static_cast<size_t>(weight.shape[0]);
  const size_t row_bytes = weight.bytes.size() / rows;
  std::vector<float> norms(rows);
  std::vector<std::byte>* copy = nullptr;
  for (size_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (size_t i = 0; i < row_bytes; i += sizeof(float)) {
      float value;
      std::memcpy(&value, weight.bytes.data() + r * row_bytes + i, sizeof value);
      sum += static_cast<double>(value) * value;
    }
    norms[r] = static_cast<float>(std::sqrt(sum));
    if (norms[r] > 0) continue;
    if (copy == nullptr) copy = &made.emplace_back(weight.bytes.begin(), weight.bytes.end());
    const float one = 1;
    std::memcpy(copy->data() + r * row_bytes, &one, sizeof one);
  }
  if (copy != nullptr) weight.bytes = *copy;
  const auto bytes = std::as_bytes(std::span(norms));
  return {Dtype::f32, {weight.shape[0], 1, 1}, made.emplace_back(bytes.begin(), bytes.end())};
}

TensorView stacked(const std::vector<TensorView>& parts, Arrays& made) {
  if (parts.size() == 1) return parts[0];
  TensorView out{Dtype::f32, parts[0].shape, {}};
  out.shape[0] = 0;
  auto& bytes = made.emplace_back();
  for (const auto& part : parts) {
    out.shape[0] += part.shape[0];
    bytes.insert(bytes.end(), part.bytes.begin(), part.bytes.end());
  }
  out.bytes = bytes;
  return out;
}

namespace {

/// The number of steps that is nearest to the value, of those that a byte holds.
float in_steps(float value, float step) { return std::clamp(std::nearbyint(value / step), -127.0f, 127.0f); }

/// The step that rounds the row best: the least that holds its largest number, or the half of it, which cuts that one.
float step_for(std::span<const float> row) {
  constexpr float kLeast = 0x1p-24f;  // of halves
  float largest = 0;
  for (const float value : row) largest = std::max(largest, std::abs(value));
  if (largest <= 127 * kLeast) return kLeast;
  const float step = std::exp2(std::ceil(std::log2(largest / 127)));
  const auto error = [&](float by) {
    double sum = 0;
    for (const float value : row) sum += std::pow(static_cast<double>(in_steps(value, by) * by - value), 2);
    return sum;
  };
  return step / 2 >= kLeast && error(step / 2) < error(step) ? step / 2 : step;
}

}  // namespace

TensorView rounded_to_bytes(const TensorView& tensor, const std::string& name, Arrays& made) {
  auto values = as_float32(tensor, name);
  const int64_t rows = tensor.shape.empty() ? 1 : std::max<int64_t>(1, tensor.shape[0]);
  const size_t length = values.size() / static_cast<size_t>(rows);
  for (size_t at = 0; at < values.size(); at += length) {
    const auto row = std::span(values).subspan(at, length);
    const float step = step_for(row);
    for (float& value : row) value = in_steps(value, step) * step;
  }
  return halved({Dtype::f32, tensor.shape, std::as_bytes(std::span(values))}, name, made);
}

TensorView mixed(const TensorView& tensor, const TensorView& other, double share, const std::string& name,
                 Arrays& made) {
  auto values = as_float32(tensor, name);
  const auto others = as_float32(other, name);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((1 - share) * values[i] + share * others.at(i));
  const auto bytes = std::as_bytes(std::span(values));
  return {Dtype::f32, tensor.shape, made.emplace_back(bytes.begin(), bytes.end())};
}

TensorView halved(const TensorView& tensor, const std::string& name, Arrays& made) {
  constexpr float kLargest = 65504;
  std::vector<uint16_t> halves;
  for (const float value : as_float32(tensor, name)) {
    if (!(std::abs(value) <= kLargest)) {
      throw Error(Exit::bad_data, name + ": holds " + std::to_string(value) +
                                      ", which half precision cannot; leave the voice as it is");
    }
    halves.push_back(half_from_float(value));
  }
  const auto bytes = std::as_bytes(std::span(halves));
  return {Dtype::f16, tensor.shape, made.emplace_back(bytes.begin(), bytes.end())};
}

}  // namespace melflow::files
