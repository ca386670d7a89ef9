// What keeps a BlockFlow's sampling from running away, whatever its filter and its network say.

#include "models/block_flow.h"
#include "models/block_flow_math.h"

namespace melflow::models {

torch::Tensor BlockFlow::loudness(const torch::Tensor& square) {
  return torch::sqrt(square.mean(-1, /*keepdim=*/true) / kWindowEnergy + kLevelFloor);
}

torch::Tensor BlockFlow::proper_level(const torch::Tensor& log_inverse, const torch::Tensor& loudness) {
  const auto norm = torch::exp(2 * torch::real(log_inverse)).mean(-1, /*keepdim=*/true);
  return torch::log(loudness * torch::rsqrt(norm));
}

torch::Tensor BlockFlow::heard_bins() const {
  // Bins of which the mel knows nothing have a pseudo-inverse of rounding errors alone.
  const auto weight = mel_to_magnitude_.abs().amax(0);
  const auto heard = weight > 1e-6 * weight.max();
  return ((heard.cumsum(0) > 0) & (heard.flip(0).cumsum(0).flip(0) > 0)).to(mel_to_magnitude_.dtype());
}

torch::Tensor BlockFlow::behind(const torch::Tensor& at_frames, int64_t blocks) const {
  const auto frames = at_frames.size(1);
  const auto start = torch::arange(blocks, at_frames.options()) * options_.group_size - kBehind;
  const auto at = start.clamp_min(0) / options_.hop_length;
  const auto before = at.floor().to(torch::kInt64), after = (before + 1).clamp_max(frames - 1);
  const auto weight = (at - at.floor()).view({1, -1, 1});
  return torch::lerp(at_frames.index_select(1, before), at_frames.index_select(1, after), weight);
}

torch::Tensor BlockFlow::trust(const torch::Tensor& past, const Guide& g) const {
  const auto n = past.size(-1);
  const auto spectrum = torch::view_as_real(
      torch::fft_rfft(pad_left_right(past * window_.to(past.options()).slice(0, 0, n), 0, kFft - n)));
  const auto times = loudness(spectrum.square().sum(-1) * g.heard_bins) / g.loudness_behind;
  return ((kIgnoredPast - times) / (kIgnoredPast - kTrustedPast)).clamp(0, 1);
}

}  // namespace melflow::models
