#include "engine/synth/block_weights.h"

#include <algorithm>
#include <cmath>

#include "engine/synth/dense.h"

namespace melflow::engine {
namespace {

/// [out, in, kernel] → [out, kernel, in]: frames lie one after the other in the input.
std::vector<float> by_tap(std::span<const float> weight, size_t inputs, size_t kernel) {
  std::vector<float> out(weight.size());
  for (size_t row = 0; row < weight.size(); row += inputs * kernel) {
    for (size_t i = 0; i < inputs; ++i) {
      for (size_t k = 0; k < kernel; ++k) out[row + k * inputs + i] = weight[row + i * kernel + k];
    }
  }
  return out;
}

std::vector<float> transposed(std::span<const float> matrix, size_t rows, size_t columns) {
  std::vector<float> out(matrix.size());
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) out[c * rows + r] = matrix[r * columns + c];
  }
  return out;
}

/// Of an inverse filterbank [bands, bins] the first bin with a weight beyond rounding errors, and the one behind the
/// last, as models::BlockFlow::trust has them.
std::pair<size_t, size_t> heard_bins(std::span<const float> inverse, size_t bands, size_t bins) {
  std::vector<float> weight(bins);
  for (size_t i = 0; i < bands * bins; ++i) weight[i % bins] = std::max(weight[i % bins], std::abs(inverse[i]));
  const float least = 1e-6f * *std::max_element(weight.begin(), weight.end());
  const auto heard = [&](float w) { return w > least; };
  const auto first = std::find_if(weight.begin(), weight.end(), heard);
  const auto last = std::find_if(weight.rbegin(), weight.rend(), heard);
  if (first == weight.end()) return {0, 0};
  return {static_cast<size_t>(first - weight.begin()), bins - static_cast<size_t>(last - weight.rbegin())};
}

}  // namespace

BlockWeights::BlockWeights(const models::BlockFlowOptions& o, const std::map<std::string, files::TensorView>& tensors)
    : options(o) {
  const Parameters p(tensors);
  const auto linear = [&](const std::string& name) -> PackedLinear {
    const auto& shape = tensors.at(name + ".weight").shape;
    const auto bias = tensors.contains(name + ".bias") ? p.floats(name + ".bias") : std::vector<float>();
    return {p.floats(name + ".weight"), bias, static_cast<int>(shape[1]), static_cast<int>(shape[0])};
  };
  for (int i = 0; i < 4; ++i) {
    const auto name = "encoder_" + std::to_string(i);
    const auto& shape = tensors.at(name + ".weight").shape;
    const auto inputs = static_cast<size_t>(shape[1]), kernel = static_cast<size_t>(shape[2]);
    encoder.emplace_back(by_tap(p.floats(name + ".weight"), inputs, kernel), p.floats(name + ".bias"),
                         static_cast<int>(inputs * kernel), static_cast<int>(shape[0]));
  }
  cepstrum = linear("cepstrum");
  film = linear("film");
  lag_bias = linear("lag_bias");
  past = linear("past");
  out = linear("out");
  for (int64_t i = 0; i < options.layers; ++i) layers.push_back(linear("layer_" + std::to_string(i)));
  constexpr int kBins = models::BlockFlowConstants::kFft / 2 + 1;
  const auto bands = static_cast<size_t>(options.n_mels);
  const auto inverse = p.floats("mel_to_magnitude");
  mel_to_magnitude =
      PackedLinear(transposed(inverse, bands, kBins), std::vector<float>(), static_cast<int>(bands), kBins);
  band = heard_bins(inverse, bands, kBins);
  const auto log_sharpness = p.floats("sharpness");
  for (int i = 0; i < 2; ++i) sharpness[i] = std::exp(log_sharpness[static_cast<size_t>(i)]);
}

}  // namespace melflow::engine
