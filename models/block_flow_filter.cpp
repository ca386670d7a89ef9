// A BlockFlow's whitening filter: from the cepstrum that the encoder predicts to its taps, and by them, both ways.

#include <utility>

#include "models/block_flow.h"
#include "models/block_flow_math.h"
#include "models/nets/complex_math.h"

namespace melflow::models {

torch::Tensor BlockFlow::log_inverse(const torch::Tensor& cepstrum) const {
  const auto spectrum = torch::real(torch::fft_rfft(pad_left_right(cepstrum, 1, 0), kFft));
  const auto bounded = kSpectrumLimit * torch::tanh(spectrum / kSpectrumLimit);
  // Folded into a causal cepstrum, the bounded spectrum is that of a minimum-phase filter again.
  const auto even = torch::fft_irfft(torch::complex(bounded, torch::zeros_like(bounded)), kFft);
  const auto decay = torch::pow(kPoleRadius, torch::arange(1, kFft / 2, cepstrum.options()));
  return torch::fft_rfft(pad_left_right(2 * even.slice(-1, 1, kFft / 2) * decay, 1, 0), kFft);
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

torch::Tensor BlockFlow::filter(const torch::Tensor& segment, const torch::Tensor& taps) const {
  const auto y = torch::fft_irfft(torch::fft_rfft(segment, kFft) * torch::fft_rfft(taps, kFft), kFft);
  return y.slice(-1, options_.filter_taps, options_.filter_taps + options_.group_size);
}

torch::Tensor BlockFlow::unfilter(const torch::Tensor& residual, const Past& past, const Guide& g) const {
  const auto n = options_.group_size, reach = std::min(n, options_.filter_taps);
  // What the past contributes goes to the right side; the block's own samples solve a unit lower-triangular system.
  const auto right = residual * torch::exp(g.log_sigma).unsqueeze(1) - filter(pad_left_right(past.heard, 0, n), g.taps);
  const auto row = torch::arange(n, torch::kInt64).unsqueeze(1), column = row.t();
  const auto difference = (row - column).clamp_min(0).to(residual.device()).flatten();
  const auto taps = pad_left_right(g.taps.slice(1, 0, reach), 0, n - reach);
  const auto matrix = taps.index_select(1, difference).view({-1, n, n}) * torch::ones({n, n}, taps.options()).tril();
  auto x = torch::linalg_solve_triangular(matrix, right.unsqueeze(2), /*upper=*/false, /*left=*/true,
                                          /*unitriangular=*/true)
               .squeeze(2);
  if ((x.abs() <= g.limit).all().item<bool>()) return x;
  // Some sample is beyond what the filter sees of it: one after the other.
  auto seen = torch::zeros_like(right);
  x = right.clone();
  for (int64_t t = 0; t < n; ++t) {
    if (t > 0) x.select(1, t).sub_((matrix.slice(1, t, t + 1).slice(2, 0, t).squeeze(1) * seen.slice(1, 0, t)).sum(1));
    seen.select(1, t).copy_(limited(x.slice(1, t, t + 1), g.limit).squeeze(1));
  }
  return x;
}

}  // namespace melflow::models
