#include "engine/synth/block_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "audio/stft.h"
#include "base/error.h"
#include "engine/kernels/convolve.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/normalise.h"

namespace melflow::engine {
namespace {

using BlockFlow = models::BlockFlowConstants;

constexpr size_t kFft = BlockFlow::kFft, kHistory = BlockFlow::kInversionPast, kLanes = audio::kFftLanes;

constexpr auto kPastLimit = static_cast<float>(BlockFlow::kPastLimit),
               kPastScale = static_cast<float>(BlockFlow::kPastScale);

}  // namespace

BlockStream::BlockStream(std::shared_ptr<const BlockWeights> weights, Noise noise, double sigma, int64_t guessed_frames)
    : weights_(std::move(weights)),
      guides_(weights_),
      hasty_guides_(weights_),
      noise_(std::move(noise)),
      sigma_(sigma),
      guessed_frames_(guessed_frames),
      window_(audio::hann_window(kFft)),
      fft_(kFft),
      lane_fft_(window_, audio::FloatLaneFft::side_by_side(kFft), kFft / 2 + 1) {
  const auto& o = weights_->options;
  group_ = static_cast<size_t>(o.group_size);
  past_length_ = static_cast<size_t>(o.past);
  taps_ = static_cast<size_t>(o.filter_taps);
  x_.assign(std::max(kHistory, past_length_), 0.0f);
  e_.assign(past_length_, 0.0f);
  seen_e_.resize(past_length_);
  seen_x_.resize(past_length_);
  from_past_.resize(group_);
  energy_e_.resize(past_length_ + 1);
  energy_x_.resize(past_length_ + 1);
  correlations_.resize(static_cast<size_t>(o.lags));
  lag_weights_.resize(static_cast<size_t>(o.lags));
  context_.resize(2 * past_length_ + 6 * group_);
  h_.resize(static_cast<size_t>(o.hidden));
  gates_.resize(2 * h_.size());
  out_.resize(2 * group_);
  for (auto& guess : guesses_) guess.resize(2 * group_);
  windowed_.resize(kHistory);
  candidates_.resize(kFft * kLanes);
  residuals_.resize(group_ * kLanes);
  spectra_.resize((kFft / 2 + 1) * kLanes);
}

void BlockStream::add(std::span<const float> frames, std::vector<float>& out) {
  const auto bands = static_cast<size_t>(weights_->options.n_mels);
  if (frames.size() % bands != 0) {
    throw Error(Exit::internal, "BlockStream: " + std::to_string(frames.size()) + " values are no whole frames of " +
                                    std::to_string(bands));
  }
  for (size_t at = 0; at < frames.size(); at += bands) {
    guides_.add(frames.subspan(at, bands));
    if (guessed_frames_ == 0) {
      known_ = emit(guides_, known_, out);
      continue;
    }
    while (guides_.skip()) ++known_;
    hasty_guides_.continue_from(guides_);
    hasty_guides_.guess(guessed_frames_);
    emit(hasty_guides_, known_, out);
  }
}

void BlockStream::hear(std::span<const float> frames) {
  if (guessed_frames_ > 0) return;  // guesses go on where the last frame was added
  const auto bands = static_cast<size_t>(weights_->options.n_mels);
  for (size_t at = 0; at + bands <= frames.size(); at += bands) guides_.hear(frames.subspan(at, bands));
}

void BlockStream::finish(std::vector<float>& out) {
  guides_.finish();
  emit(guides_, known_, out);
}

int64_t BlockStream::emit(BlockGuides& guides, int64_t at, std::vector<float>& out) {
  const auto draws = noise_.draws();
  std::vector<float> z(static_cast<size_t>(draws) * group_);
  for (; const auto* guide = guides.next(); ++at) {
    if (at < block_) continue;
    noise_.fill(draws * static_cast<int64_t>(group_), block_++, 1, z);
    for (float& v : z) v *= static_cast<float>(sigma_);
    speak_block(*guide, z, out);
  }
  return at;
}

void BlockStream::speak_block(const BlockGuide& guide, std::span<const float> draws, std::vector<float>& out) {
  guess_twice(guide);
  filter_past(guide);
  look_back(guide);
  run_network(guide);

  std::vector<float> e(group_), x(group_);
  noise_.take(static_cast<int64_t>(choose(guide, draws, e, x)));
  const auto shift = [&](std::vector<float>& past, const std::vector<float>& fresh) {
    std::copy(past.begin() + static_cast<ptrdiff_t>(group_), past.end(), past.begin());
    std::copy(fresh.begin(), fresh.end(), past.end() - static_cast<ptrdiff_t>(group_));
  };
  shift(x_, x);
  shift(e_, e);
  out.insert(out.end(), x.begin(), x.end());
}

/// The draw z [count, group] whose block fits the mel best; e and x become its residual and its samples:
/// e = μ + exp(s)·z, and x solves Σ_k a_k x_{t-k} = σ·e forward in time.
size_t BlockStream::choose(const BlockGuide& guide, std::span<const float> draws, std::span<float> e,
                           std::span<float> x) {
  const auto past = std::span(x_).last(BlockFlow::kRecentPast);
  for (size_t i = 0; i < past.size(); ++i) std::fill_n(candidates_.begin() + i * kLanes, kLanes, past[i]);
  const std::span samples(candidates_.data() + past.size() * kLanes, group_ * kLanes);
  const size_t count = draws.size() / group_;
  size_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t first = 0; first < count; first += kLanes) {
    const size_t lanes = std::min(kLanes, count - first);
    for (size_t lane = 0; lane < lanes; ++lane) {
      const float* z = draws.data() + (first + lane) * group_;
      for (size_t t = 0; t < group_; ++t) residuals_[t * kLanes + lane] = out_[t] + out_[group_ + t] * z[t];
    }
    // Louder than any recording is not to be: what the filter does not see, it cannot answer, and the sound would run
    // away. So the noise is that of the loudest sample that it sees.
    unfilter(guide.taps.data(), taps_, from_past_.data(), guide.sigma,
             guide.gain * static_cast<float>(BlockFlow::kFilterLimit), residuals_.data(), samples.data(), group_);
    double distances[kLanes] = {};
    if (count > 1) {
      lane_fft_.magnitudes(candidates_.data(), static_cast<int>(lanes), /*epsilon=*/0, spectra_.data());
      magnitude_distances(spectra_.data(), guide.magnitude.data(), guide.magnitude.size(), distances);
    }
    for (size_t lane = 0; lane < lanes; ++lane) {
      const bool better = distances[lane] < least;
      if (!better && first + lane > 0) continue;
      if (better) least = distances[lane];
      best = first + lane;
      for (size_t t = 0; t < group_; ++t) {
        e[t] = residuals_[t * kLanes + lane];
        x[t] = samples[t * kLanes + lane];
      }
    }
  }
  return best;
}

/// What the whitening filter makes of the past, were the block silent.
void BlockStream::filter_past(const BlockGuide& guide) {
  std::vector<float> padded(taps_ + group_, 0.0f);
  const float wild = guide.gain * static_cast<float>(BlockFlow::kFilterLimit);
  for (size_t i = 0; i < taps_; ++i) padded[i] = trust_ * std::clamp(x_[x_.size() - taps_ + i], -wild, wild);
  std::fill(from_past_.begin(), from_past_.end(), 0.0f);
  convolve_into(guide.taps.data(), 1, taps_, padded.data() + taps_, from_past_.data(), group_);
}

/// Fills context_: past of e, past of x, what followed the likeliest lags in both, and the two guesses.
void BlockStream::look_back(const BlockGuide& guide) {
  const size_t p = past_length_, g = group_;
  saturate(e_.data(), 1, kPastLimit, 1, seen_e_.data(), p);
  saturate(x_.data() + x_.size() - p, guide.gain, kPastLimit, kPastScale, seen_x_.data(), p);
  std::copy(seen_e_.begin(), seen_e_.end(), context_.begin());
  std::copy(seen_x_.begin(), seen_x_.end(), context_.begin() + static_cast<ptrdiff_t>(p));

  weigh_lags(guide);
  for (size_t which = 0; which < 2; ++which) {
    const auto& y = which == 0 ? seen_e_ : seen_x_;
    float* seen = context_.data() + 2 * p + which * g;
    std::fill(seen, seen + g, 0.0f);
    // Lag g + l reaches back from the block's own samples, which lie behind the end of y.
    convolve_into(lag_weights_.data(), 0, lag_weights_.size(), y.data() + p - g, seen, g);
  }
  for (size_t which = 0; which < 2; ++which) see_guess(guide, which, context_.data() + (2 + 2 * which) * g + 2 * p);
}

/// softmax(bias + Σ sharpness · normalised correlation of the last samples with those of each lag).
void BlockStream::weigh_lags(const BlockGuide& guide) {
  const auto& o = weights_->options;
  const auto p = past_length_, q = static_cast<size_t>(o.correlation), first = group_, lags = lag_weights_.size();
  lag_weights_ = guide.lag_bias;
  // The energies of both are summed up side by side: no sum waits for the other.
  for (size_t i = 0; i < p; ++i) {
    const double now_e = seen_e_[i], now_x = seen_x_[i];
    energy_e_[i + 1] = energy_e_[i] + now_e * now_e;
    energy_x_[i + 1] = energy_x_[i] + now_x * now_x;
  }
  for (size_t which = 0; which < 2; ++which) {
    const auto& y = which == 0 ? seen_e_ : seen_x_;
    const auto& energy = which == 0 ? energy_e_ : energy_x_;
    const float* now = y.data() + p - q;
    correlate(now, now - first, q, lags, correlations_.data());
    // Of the samples compared at the longest lag, which lie first, as they do in correlations_.
    normalise(energy.data() + p - q - first - (lags - 1), q, energy[p] - energy[p - q], BlockFlow::kCorrelationFloor,
              correlations_.data(), lags);
    for (size_t l = 0; l < lags; ++l) lag_weights_[l] += weights_->sharpness[which] * correlations_[lags - 1 - l];
  }
  const float largest = *std::max_element(lag_weights_.begin(), lag_weights_.end());
  float sum = 0;
  exponentials(largest, lag_weights_.data(), lags);
  for (const float w : lag_weights_) sum += w;
  for (float& w : lag_weights_) w /= sum;
}

void BlockStream::see_guess(const BlockGuide& guide, size_t which, float* seen) {
  const auto block = std::span(guesses_[which]).last(group_);
  saturate(block.data(), guide.gain, kPastLimit, kPastScale, seen, group_);
  // Its residual: what the filter makes of it, behind the past; silence lies before it.
  float* residual = seen + group_;
  std::copy(from_past_.begin(), from_past_.end(), residual);
  convolve_into(guide.taps.data(), 0, std::min(group_, taps_), block.data(), residual, group_);
  saturate(residual, guide.sigma, static_cast<float>(BlockFlow::kResidualLimit), 1, residual, group_);
}

/// The guesses of the block from the mel kBehind samples before it and at its start, and how far to trust in the past.
void BlockStream::guess_twice(const BlockGuide& guide) {
  const auto history = std::span<const float>(x_).last(kHistory), recent = history.last(BlockFlow::kRecentPast);
  begin_guess(history);
  trust_ = trust(guide.loudness_behind);
  finish_guess(history.size(), guide.magnitude_behind, 3, guesses_[0]);
  begin_guess(recent);
  finish_guess(recent.size(), guide.magnitude, 1, guesses_[1]);
}

/// models::BlockFlow::trust, from the spectrum of the past that a guess begins with.
float BlockStream::trust(double expected) {
  const auto [first, last] = weights_->band;
  const auto bins = fft_.spectrum().subspan(first, last - first);
  const double times = loudness(energy(bins.data(), bins.size())) / expected;
  const double trusted = (BlockFlow::kIgnoredPast - times) / (BlockFlow::kIgnoredPast - BlockFlow::kTrustedPast);
  return static_cast<float>(std::clamp(trusted, 0.0, 1.0));
}

/// Windows the past; its spectrum is in fft_ then.
void BlockStream::begin_guess(std::span<const float> past) {
  for (size_t i = 0; i < past.size(); ++i) windowed_[i] = past[i] * static_cast<float>(window_[i]);
  auto real = fft_.real();
  std::copy_n(windowed_.begin(), past.size(), real.begin());
  std::fill(real.begin() + static_cast<ptrdiff_t>(past.size()), real.end(), 0.0f);
  fft_.forward();
}

/// The continuation of the past, of n samples, whose spectrum, with it, is that of the mel: real-time spectrogram
/// inversion.
void BlockStream::finish_guess(size_t n, std::span<const float> magnitude, int iterations, std::span<float> guess) {
  auto real = fft_.real();
  for (int iteration = 0; iteration < iterations; ++iteration) {
    if (iteration > 0) {
      std::copy_n(windowed_.begin(), n, real.begin());
      fft_.forward();
    }
    impose_magnitude(magnitude.data(), static_cast<float>(BlockFlow::kMagnitudeFloor), 1.0f / kFft,
                     fft_.spectrum().data(), fft_.spectrum().size());
    fft_.inverse();
  }
  const auto block = guess.last(group_);
  for (size_t t = 0; t < group_; ++t) block[t] = real[n + t] / static_cast<float>(window_[n + t]);
}

void BlockStream::run_network(const BlockGuide& guide) {
  const auto& w = *weights_;
  w.past(context_, h_);
  modulate(guide.film.data(), h_.data(), h_.size());
  for (const auto& layer : w.layers) {
    layer(h_, gates_);
    add_gated(gates_.data(), h_.data(), h_.size());
  }
  w.out(h_, out_);
  for (float& v : out_) v *= trust_;
  bounded_exponentials(static_cast<float>(BlockFlow::kScaleLimit), out_.data() + group_, group_);
  for (float& v : out_) v = std::clamp(v, -guide.most, guide.most);
}

}  // namespace melflow::engine
