// What keeps a BlockFlow's sampling from running away, whatever its filter and its network say.

#include <utility>

#include "models/block_flow.h"
#include "models/block_flow_math.h"
#include "models/nets/complex_math.h"

namespace melflow::models {

torch::Tensor BlockFlow::loudness(const torch::Tensor& square) {
  return torch::sqrt(square.mean(-1, /*keepdim=*/true) / kWindowEnergy + kLevelFloor);
}

torch::Tensor BlockFlow::proper_level(const torch::Tensor& log_inverse, const torch::Tensor& loudness) {
  const auto norm = torch::exp(2 * torch::real(log_inverse)).mean(-1, /*keepdim=*/true);
  return torch::log(loudness * torch::rsqrt(norm));
}

namespace {

/// The first taps [.., n] of A, and the largest (|T|/|A|)² [.., 1] of what is cut off, on the bins of ln A^-1.
std::pair<torch::Tensor, torch::Tensor> cut_plainly(const torch::Tensor& log_inverse, int64_t n) {
  const auto size = 2 * (log_inverse.size(-1) - 1);
  const auto impulse = torch::fft_irfft(complex_exp(-log_inverse), size);
  const auto rest = torch::view_as_real(torch::fft_rfft(pad_left_right(impulse.slice(-1, n), n, 0)));
  const auto error = rest.square().sum(-1) * torch::exp(2 * torch::real(log_inverse));
  const auto taps = torch::cat({torch::ones_like(impulse.slice(-1, 0, 1)), impulse.slice(-1, 1, n)}, -1);
  return {taps, error.amax(-1, /*keepdim=*/true)};
}

}  // namespace

torch::Tensor BlockFlow::cut(const torch::Tensor& log_inverse) const {
  constexpr double kLimit = kCutLimit * kCutLimit;
  const auto n = options_.filter_taps;
  const auto filters = log_inverse.flatten(0, -2);
  auto [taps, error] = cut_plainly(filters, n);
  const auto which = (error.squeeze(-1) > kLimit).nonzero().squeeze(-1);
  if (which.numel() > 0) {  // what is long is wrapped around in kFft samples
    const auto cepstrum = torch::fft_irfft(filters.index_select(0, which), kFft).slice(-1, 0, kFft / 2);
    const auto [long_taps, long_error] = cut_plainly(torch::fft_rfft(cepstrum, kFineFft), n);
    const auto order = torch::arange(n, long_taps.options()) / n;
    const auto drawn = torch::exp(-0.5 * torch::log(long_error.clamp_min(kLimit) / kLimit) * order);
    taps = taps.index_copy(0, which, long_taps * drawn);
  }
  return taps.unflatten(0, log_inverse.sizes().slice(0, log_inverse.dim() - 1));
}

torch::Tensor BlockFlow::heard_bins() const {
  // Bins of which the mel knows nothing have a pseudo-inverse of rounding errors alone.
  const auto weight = mel_to_magnitude_.abs().amax(0);
  const auto heard = weight > 1e-6 * weight.max();
  return ((heard.cumsum(0) > 0) & (heard.flip(0).cumsum(0).flip(0) > 0)).to(mel_to_magnitude_.dtype());
}

torch::Tensor BlockFlow::loudness_behind(const torch::Tensor& at_frames, int64_t blocks) const {
  const auto frames = at_frames.size(1);
  const auto start = torch::arange(blocks, at_frames.options()) * options_.group_size - (kFft - kInversionPast);
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
