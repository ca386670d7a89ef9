// What keeps a BlockFlow's sampling from running away, whatever its filter and its network say.

#include "models/block_flow.h"
#include "models/block_flow_math.h"
#include "models/nets/complex_math.h"

namespace melflow::models {

torch::Tensor BlockFlow::loudness(const torch::Tensor& square) {
  return torch::sqrt(square.mean(-1, /*keepdim=*/true) / kWindowEnergy + kLevelFloor);
}

torch::Tensor BlockFlow::proper_level(const torch::Tensor& log_inverse, const torch::Tensor& magnitude) const {
  const auto norm = torch::exp(2 * torch::real(log_inverse)).mean(-1, /*keepdim=*/true);
  return torch::log(loudness(magnitude.square()) * torch::rsqrt(norm));
}

torch::Tensor BlockFlow::cut(const torch::Tensor& log_inverse) const {
  const auto n = options_.filter_taps;
  const auto impulse = torch::fft_irfft(complex_exp(-log_inverse), kFft);
  const auto rest = torch::view_as_real(torch::fft_rfft(pad_left_right(impulse.slice(-1, n), n, 0)));
  const auto error = rest.square().sum(-1) * torch::exp(2 * torch::real(log_inverse));  // (|T|/|A|)²
  const auto excess = error.amax(-1, /*keepdim=*/true).clamp_min(kCutLimit * kCutLimit) / (kCutLimit * kCutLimit);
  const auto drawn = torch::exp(-0.5 * torch::log(excess) * (torch::arange(1, n, impulse.options()) / n));
  return torch::cat({torch::ones_like(excess), impulse.slice(-1, 1, n) * drawn}, -1);
}

torch::Tensor BlockFlow::heard(const Past& past, const Guide& g) const {
  return limited(past.raw.slice(-1, kInversionPast - options_.filter_taps), g.limit) * past.trust;
}

torch::Tensor BlockFlow::trust(const torch::Tensor& past, const Guide& g) const {
  // Bins of which the mel knows nothing have a pseudo-inverse of rounding errors alone.
  const auto weight = mel_to_magnitude_.abs().amax(0);
  const auto band = (weight > 1e-6 * weight.max()).to(past.dtype());
  const auto n = past.size(-1);
  const auto spectrum = torch::view_as_real(
      torch::fft_rfft(pad_left_right(past * window_.to(past.options()).slice(0, 0, n), 0, kFft - n)));
  const auto times = loudness(spectrum.square().sum(-1) * band) / loudness(g.earlier_magnitude.square());
  return ((kIgnoredPast - times) / (kIgnoredPast - kTrustedPast)).clamp(0, 1);
}

}  // namespace melflow::models
