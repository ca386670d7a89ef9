#include "models/block_flow.h"

#include <string>

#include "models/block_flow_math.h"
#include "models/nets/complex_math.h"
#include "models/nets/row_linear.h"

namespace melflow::models {
namespace {

/// The identity for small numbers, never beyond ±limit.
torch::Tensor saturate(const torch::Tensor& t, double limit) { return t * torch::rsqrt(1 + (t / limit).square()); }

}  // namespace

BlockFlow::BlockFlow(const BlockFlowOptions& options) : options_(options) {
  options_.validate();
  const auto& o = options_;
  const int64_t inputs[] = {o.n_mels + 2, o.encoder_channels, o.encoder_channels, o.encoder_channels};
  const int64_t kernels[] = {3, 3, 3, 1};
  for (int i = 0; i < 4; ++i) {
    encoder_.push_back(
        register_module("encoder_" + std::to_string(i), torch::nn::Conv1d(inputs[i], o.encoder_channels, kernels[i])));
  }
  const auto linear = [&](const std::string& name, int64_t in, int64_t out, bool bias = true) {
    return register_module(name, torch::nn::Linear(torch::nn::LinearOptions(in, out).bias(bias)));
  };
  cepstrum_ = linear("cepstrum", o.encoder_channels, o.cepstrum + 1);
  film_ = linear("film", o.encoder_channels, 2 * o.hidden);
  lag_bias_ = linear("lag_bias", o.encoder_channels, o.lags);
  past_ = linear("past", 2 * o.past + 6 * o.group_size, o.hidden, /*bias=*/false);
  for (int64_t i = 0; i < o.layers; ++i) {
    layers_.push_back(linear("layer_" + std::to_string(i), o.hidden, 2 * o.hidden));
  }
  out_ = linear("out", o.hidden, 2 * o.group_size);
  sharpness_ = register_parameter("sharpness", torch::full({2}, 1.6));
  mel_to_magnitude_ = register_buffer("mel_to_magnitude", torch::zeros({o.n_mels, kFft / 2 + 1}));
  window_ = torch::hann_window(kFft);

  // The flow starts as the division by the mel's gain: no filter, no prediction, no preference of a lag.
  torch::NoGradGuard no_grad;
  for (auto* near_zero : {&cepstrum_, &lag_bias_}) {
    (*near_zero)->weight.normal_(0, 1e-3);
    (*near_zero)->bias.zero_();
  }
  out_->weight.zero_();
  out_->bias.zero_();
}

int64_t BlockFlow::warmup_frames() const {
  const auto samples = std::max(options_.filter_taps + options_.past, kInversionPast);
  return std::max((samples + options_.hop_length - 1) / options_.hop_length, kLookahead);
}

void BlockFlow::set_filterbank(const torch::Tensor& filterbank) {
  TORCH_CHECK(filterbank.sizes() == torch::IntArrayRef({options_.n_mels, kFft / 2 + 1}),
              "BlockFlow: wants the filterbank of a mel with n_fft ", kFft, ", not ", filterbank.sizes());
  torch::NoGradGuard no_grad;
  mel_to_magnitude_.copy_(torch::linalg_pinv(filterbank.to(torch::kFloat64)).t());
}

torch::Tensor BlockFlow::to_blocks(const torch::Tensor& at_frames, double fraction) const {
  const int64_t ratio = options_.hop_length / options_.group_size;
  const auto left = at_frames.narrow(1, 0, at_frames.size(1) - 1).unsqueeze(2);
  const auto right = at_frames.narrow(1, 1, at_frames.size(1) - 1).unsqueeze(2);
  const auto weight = ((torch::arange(ratio, at_frames.options()) + fraction) / ratio).view({1, 1, ratio, 1});
  return torch::lerp(left.expand({-1, -1, ratio, -1}), right.expand({-1, -1, ratio, -1}), weight).flatten(1, 2);
}

BlockFlow::Features BlockFlow::encode(const torch::Tensor& mel, int64_t frames) {
  const auto n_mels = options_.n_mels;
  TORCH_CHECK(mel.dim() == 3 && mel.size(1) == n_mels && mel.size(2) >= frames, "BlockFlow: wants a mel [batch, ",
              n_mels, ", ", frames, " or more], not ", mel.sizes());
  // Frames -kLookahead … frames + kLookahead, the ends repeated where there are none.
  const auto wanted = torch::arange(-kLookahead, frames + kLookahead + 1, torch::kInt64).clamp(0, mel.size(2) - 1);
  const auto m = mel.index_select(2, wanted.to(mel.device())).clamp(-kMelLimit, kMelLimit);

  const auto level = 0.5 * torch::log((2 * m).exp().mean(1) + kLevelFloor);  // [batch, frames']
  const auto n = level.size(1);
  const auto step = level.narrow(1, 1, n - 1) - level.narrow(1, 0, n - 1);
  auto h = torch::cat({(m - level.unsqueeze(1)).narrow(2, 1, n - 2) * 0.5, step.narrow(1, 0, n - 2).unsqueeze(1),
                       step.narrow(1, 1, n - 2).unsqueeze(1)},
                      1);
  for (size_t i = 0; i < encoder_.size(); ++i) {
    const auto y = torch::silu(encoder_[i]->forward(h));
    h = i == 0 ? y : y + h.narrow(2, (h.size(2) - y.size(2)) / 2, y.size(2));
  }
  return {h.transpose(1, 2), m.narrow(2, kLookahead, frames + 1).transpose(1, 2),
          level.narrow(1, kLookahead, frames + 1).unsqueeze(2)};
}

BlockFlow::Guide BlockFlow::guide(const torch::Tensor& mel, int64_t frames) {
  const auto& o = options_;
  const auto [features, own, own_level] = encode(mel, frames);
  // Small high quefrencies at the start: they steer the filter most, and would blow it up.
  const auto damping = 1 / (1 + torch::arange(o.cepstrum + 1, own.options()) / 16);
  const auto c = apply_linear(features, cepstrum_).to(own.scalar_type()) * damping;  // no transform is narrower
  // ln A is linear in its bounded cepstrum, so frames are blended there: the blend is a minimum-phase filter again.
  const auto filters = log_inverse(c.slice(2, 1));
  const auto blended = torch::view_as_complex(
      to_blocks(torch::view_as_real(filters).flatten(2)).unflatten(2, {kFft / 2 + 1, 2}).contiguous());
  const auto magnitude = torch::matmul(own.exp(), mel_to_magnitude_).clamp_min(kMagnitudeFloor);
  Guide out;
  out.taps = cut(blended);
  out.log_gain = to_blocks(own_level).squeeze(2);
  out.limit = kFilterLimit * torch::exp(out.log_gain).unsqueeze(-1);
  const auto loud = loudness(magnitude.square());
  const auto proper = proper_level(filters, loud) - own_level;
  const auto level =
      torch::minimum(c.narrow(2, 0, 1).clamp(kLowestLevel, kHighestLevel), proper + std::log(kLevelLimit));
  out.log_sigma = out.log_gain + to_blocks(level).squeeze(2);
  out.most = to_blocks(proper - level) + std::log(kBlockLimit);
  out.film = to_blocks(apply_linear(features, film_));
  out.lag_bias = to_blocks(apply_linear(features, lag_bias_));
  out.magnitude = to_blocks(magnitude, /*fraction=*/0);
  out.magnitude_behind = behind(magnitude, out.magnitude.size(1));
  out.loudness_behind = behind(loud, out.magnitude.size(1));
  out.heard_bins = heard_bins();
  return out;
}

BlockFlow::Past BlockFlow::past_of(const torch::Tensor& samples, const Guide& g) const {
  const auto last = [&](int64_t n) { return samples.slice(-1, samples.size(-1) - n); };
  const auto raw = last(kInversionPast), trusted = trust(raw, g);
  return {{},
          last(options_.past) * torch::exp(-g.log_gain).unsqueeze(-1),
          raw,
          trusted,
          limited(last(options_.filter_taps), g.limit) * trusted};
}

torch::Tensor BlockFlow::lag_weights(const Past& past, const torch::Tensor& lag_bias) {
  const auto& o = options_;
  const auto p = o.past, q = o.correlation, first = o.group_size, lags = o.lags;
  auto logit = lag_bias;
  const torch::Tensor pasts[] = {past.e, past.x};
  for (int i = 0; i < 2; ++i) {
    const auto& y = pasts[i];
    const auto now = torch::fft_rfft(pad_left_right(y.slice(-1, p - q), p - q, 0));
    // correlation[l] = Σ_{j<q} y[p-1-j]·y[p-1-j-l]; circular, but no lag in use reaches around.
    const auto correlation = torch::fft_irfft(now * torch::fft_rfft(y).conj(), p).slice(-1, first, first + lags);
    const auto sums = pad_left_right((y * y).cumsum(-1), 1, 0);
    const auto energy = (sums.slice(-1, q) - sums.slice(-1, 0, p + 1 - q)).clamp_min(0);  // of y[j .. j+q)
    const auto then = energy.slice(-1, p - q - first - lags + 1, p - q - first + 1).flip(-1);
    const auto norm = torch::rsqrt(energy.slice(-1, p - q) * then + kCorrelationFloor);
    logit = logit + sharpness_[i].exp() * (correlation * norm);
  }
  return torch::softmax(logit, -1);
}

torch::Tensor BlockFlow::guess(const torch::Tensor& past, const torch::Tensor& magnitude, int iterations) const {
  const auto n = past.size(-1);
  const auto window = window_.to(past.options());
  const auto known = past * window.slice(0, 0, n);
  auto frame = pad_left_right(known, 0, kFft - n);
  for (int i = 0; i < iterations; ++i) {
    const auto spectrum = torch::fft_rfft(frame);
    const auto imposed = spectrum * (magnitude / (modulus(spectrum) + kMagnitudeFloor));
    frame = torch::cat({known, torch::fft_irfft(imposed, kFft).slice(-1, n)}, -1);
  }
  const auto end = n + options_.group_size;
  return frame.slice(-1, n, end) / window.slice(0, n, end);
}

std::vector<torch::Tensor> BlockFlow::context(const Past& past, const Guide& g) {
  const auto& o = options_;
  const auto es = saturate(past.e, kPastLimit), xs = saturate(past.x, kPastLimit) * kPastScale;
  // Σ_l weight_l · the group_size samples that followed lag l, as a circular convolution.
  const auto weights = lag_weights({es, xs, {}, {}, {}}, g.lag_bias);
  const auto spectrum = torch::fft_rfft(pad_left_right(weights, o.group_size, o.past - o.group_size - o.lags));
  std::vector<torch::Tensor> seen{es, xs};
  for (const auto& y : {es, xs}) {
    seen.push_back(torch::fft_irfft(spectrum * torch::fft_rfft(y), o.past).slice(-1, 0, o.group_size));
  }
  // The guesses, too, are data to a training: nothing is learned by way of them.
  torch::AutoGradMode gradients(torch::GradMode::is_enabled() && !is_training());
  const auto over_gain = torch::exp(-g.log_gain).unsqueeze(-1);
  const auto over_sigma = torch::exp(-g.log_sigma).unsqueeze(-1);
  const auto guesses = {guess(past.raw, g.magnitude_behind, 3), guess(past.raw.slice(-1, kBehind), g.magnitude, 1)};
  for (const auto& x : guesses) {
    const auto segment = torch::cat({past.heard, x}, -1);
    seen.push_back(saturate(x * over_gain, kPastLimit) * kPastScale);
    seen.push_back(saturate(filter(segment, g.taps) * over_sigma, kResidualLimit));
  }
  return seen;
}

std::pair<torch::Tensor, torch::Tensor> BlockFlow::predict(const Past& past, const Guide& g) {
  const auto& o = options_;
  auto h = torch::silu(apply_linear(torch::cat(context(past, g), -1), past_) * (1 + g.film.slice(-1, 0, o.hidden)) +
                       g.film.slice(-1, o.hidden));
  for (auto& layer : layers_) h = h + torch::glu(apply_linear(h, layer), -1);
  const auto out = apply_linear(h, out_) * past.trust;
  const auto s = kScaleLimit * torch::tanh(out.slice(-1, o.group_size) / kScaleLimit);
  return {limited(out.slice(-1, 0, o.group_size), torch::exp(g.most)), torch::minimum(s, g.most)};
}

Mapped BlockFlow::forward(const torch::Tensor& x, const torch::Tensor& mel) {
  const auto& o = options_;
  TORCH_CHECK(x.dim() == 2 && x.size(1) > 0 && x.size(1) % o.hop_length == 0,
              "BlockFlow: wants [batch, samples] with samples a multiple of ", o.hop_length, ", not ", x.sizes());
  const auto g = guide(mel, x.size(1) / o.hop_length);
  const auto blocks = x.unflatten(1, {-1, o.group_size});
  const auto before = [&](const torch::Tensor& signal, int64_t n) {  // the n samples before each block
    return pad_left_right(signal, n, 0).unfold(1, n, o.group_size).narrow(1, 0, blocks.size(1));
  };
  Past past = past_of(before(x, past_length()), g);
  const auto seen = limited(blocks, g.limit);
  const auto beyond = blocks - seen;  // zero, but for wild samples
  const auto e = (filter(torch::cat({past.heard, seen}, -1), g.taps) + beyond) *
                 torch::exp(-g.log_sigma).unsqueeze(2);  // [batch, blocks, group]
  past.e = before(e.flatten(1), o.past);
  if (is_training()) {  // the past is data: no gradient flows into how it was whitened
    past.e = past.e.detach();
    past.x = past.x.detach();
    perturb(past);
  }
  const auto [mu, s] = predict(past, g);
  const auto z = (e - mu) * torch::exp(-s);
  const auto local = -(s.sum(2) + g.log_sigma * o.group_size);
  return {z.transpose(1, 2).contiguous(), local.sum(1), local};
}

torch::Tensor BlockFlow::choose(const torch::Tensor& draws, const torch::Tensor& mu, const torch::Tensor& s,
                                const Past& past, const Guide& guide) const {
  const auto count = draws.size(1);
  const auto known = past.raw.slice(-1, kBehind);
  const auto window = window_.to(known.options());
  std::vector<torch::Tensor> distances;
  for (int64_t d = 0; d < count; ++d) {
    const auto x = unfilter(mu + torch::exp(s) * draws.select(1, d), past, guide);
    const auto frame = pad_left_right(torch::cat({known, x}, -1), 0, kFft - known.size(-1) - x.size(-1)) * window;
    distances.push_back((modulus(torch::fft_rfft(frame)) - guide.magnitude).square().sum(-1));
  }
  const auto best = torch::stack(distances, 1).argmin(1);  // [batch]
  return draws.gather(1, best.view({-1, 1, 1}).expand({-1, 1, draws.size(2)})).squeeze(1);
}

BlockFlow::Guide BlockFlow::at(const Guide& g, int64_t b) {
  return {g.taps.select(1, b),
          g.log_gain.select(1, b),
          g.limit.select(1, b),
          g.most.select(1, b),
          g.log_sigma.select(1, b),
          g.film.select(1, b),
          g.lag_bias.select(1, b),
          g.magnitude.select(1, b),
          g.magnitude_behind.select(1, b),
          g.loudness_behind.select(1, b),
          g.heard_bins};
}

Mapped BlockFlow::inverse(const torch::Tensor& z, const torch::Tensor& mel) {
  const auto& o = options_;
  const auto blocks = z.size(2), batch = z.size(0), n = o.group_size;
  TORCH_CHECK(z.dim() == 3 && z.size(1) > 0 && z.size(1) % n == 0 && blocks * n % o.hop_length == 0 && blocks > 0,
              "BlockFlow: wants [batch, ", n, " for each draw, groups] of whole frames, not ", z.sizes());
  const auto g = guide(mel, blocks * n / o.hop_length);
  const auto memory = past_length();
  auto x = torch::zeros({batch, memory + blocks * n}, z.options());
  auto e = torch::zeros({batch, o.past + blocks * n}, z.options());
  std::vector<torch::Tensor> local;
  for (int64_t b = 0; b < blocks; ++b) {
    const auto t = memory + b * n;
    const Guide here = at(g, b);
    Past past = past_of(x.slice(1, t - memory, t), here);
    past.e = e.slice(1, b * n, b * n + o.past);
    const auto [mu, s] = predict(past, here);
    const auto draws = z.select(2, b).unflatten(1, {-1, n});
    const auto residual =
        mu + torch::exp(s) * (draws.size(1) > 1 ? choose(draws, mu, s, past, here) : draws.select(1, 0));
    e.slice(1, o.past + b * n, o.past + (b + 1) * n).copy_(residual);
    x.slice(1, t, t + n).copy_(unfilter(residual, past, here));
    local.push_back(s.sum(1) + here.log_sigma * n);
  }
  const auto by_block = torch::stack(local, 1);
  return {x.slice(1, memory), by_block.sum(1), by_block};
}

}  // namespace melflow::models
