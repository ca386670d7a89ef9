#include "engine/synth/block_guide.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "engine/kernels/elementwise.h"

namespace melflow::engine {
namespace {

using BlockFlow = models::BlockFlowConstants;

constexpr int kFft = BlockFlow::kFft, kBins = kFft / 2 + 1;
constexpr auto kLookahead = static_cast<size_t>(BlockFlow::kLookahead);

void lerp(std::span<const float> a, std::span<const float> b, float weight, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] + weight * (b[i] - a[i]);
}

/// Half the logarithm of the mean power over the bands.
float level_of(std::span<const float> frame) {
  double sum = 0;
  for (const float m : frame) sum += std::exp(2.0 * m);
  return static_cast<float>(0.5 * std::log(sum / static_cast<double>(frame.size()) + BlockFlow::kLevelFloor));
}

double squares_of(std::span<const float> magnitude) {
  double sum = 0;
  for (const float m : magnitude) sum += m * m;
  return sum;
}

}  // namespace

double loudness(double squares) {
  return std::sqrt(squares / kBins / BlockFlow::kWindowEnergy + BlockFlow::kLevelFloor);
}

BlockGuides::BlockGuides(std::shared_ptr<const BlockWeights> weights)
    : weights_(std::move(weights)), hearing_fft_(kFft), fft_(kFft), inputs_(weights_->encoder.size()) {
  const auto& o = weights_->options;
  blocks_in_frame_ = o.hop_length / o.group_size;
  guide_.taps.resize(static_cast<size_t>(o.filter_taps));
  guide_.film.resize(static_cast<size_t>(2 * o.hidden));
  guide_.lag_bias.resize(static_cast<size_t>(o.lags));
  guide_.magnitude.resize(kBins);
  guide_.magnitude_behind.resize(kBins);
  blended_.resize(2 * kBins);
}

std::vector<BlockGuides::AtFrame> BlockGuides::described(std::span<const float> frame) {
  // The first frame has been there before the beginning.
  const size_t times = last_frame_.empty() ? kLookahead + 1 : 1;
  std::vector<AtFrame> out;
  for (size_t i = 0; i < times; ++i) {
    if (auto at = push(frame)) out.push_back(std::move(*at));
  }
  last_frame_.assign(frame.begin(), frame.end());
  return out;
}

void BlockGuides::hear(std::span<const float> frame) {
  auto of_it = described(frame);
  const std::lock_guard lock(hearing_);
  heard_.push_back(std::move(of_it));
}

void BlockGuides::add(std::span<const float> frame) {
  std::vector<AtFrame> of_it;
  {
    const std::lock_guard lock(hearing_);
    if (!heard_.empty()) {
      of_it = std::move(heard_.front());
      heard_.pop_front();
    } else {
      of_it = described(frame);
    }
  }
  std::move(of_it.begin(), of_it.end(), std::back_inserter(known_));
}

void BlockGuides::guess(int64_t frames) {
  for (int64_t i = 0; i < frames && !last_frame_.empty(); ++i) {
    if (auto at = push(last_frame_)) known_.push_back(std::move(*at));
  }
}

void BlockGuides::continue_from(const BlockGuides& other) {
  inputs_ = other.inputs_;
  frames_ = other.frames_;
  levels_ = other.levels_;
  last_frame_ = other.last_frame_;
  known_ = other.known_;
  past_ = other.past_;
  block_ = other.block_;
}

std::optional<std::vector<float>> BlockGuides::convolve(size_t stage, std::vector<float> input) {
  const auto& layer = weights_->encoder[stage];
  const size_t kernel = static_cast<size_t>(layer.inputs()) / input.size();
  auto& held = inputs_[stage];
  held.push_back(std::move(input));
  if (held.size() < kernel) return std::nullopt;
  std::vector<float> joined, out(static_cast<size_t>(layer.outputs()));
  for (const auto& part : held) joined.insert(joined.end(), part.begin(), part.end());
  layer(joined, out);
  const auto& middle = held[kernel / 2];
  silu(out.data(), out.size());
  for (size_t i = 0; stage > 0 && i < out.size(); ++i) out[i] += middle[i];
  held.erase(held.begin());
  return out;
}

std::optional<BlockGuides::AtFrame> BlockGuides::push(std::span<const float> wild) {
  std::vector<float> frame(wild.begin(), wild.end());
  constexpr auto limit = static_cast<float>(BlockFlow::kMelLimit);
  for (float& m : frame) m = std::clamp(m, -limit, limit);
  frames_.push_back(frame);
  levels_.push_back(level_of(frame));
  const size_t n = frames_.size();
  if (n < 3) return std::nullopt;
  // The frame before the newest knows both its neighbours.
  std::vector<float> features;
  const float level = levels_[n - 2];
  for (const float m : frames_[n - 2]) features.push_back((m - level) * 0.5f);
  features.push_back(level - levels_[n - 3]);
  features.push_back(levels_[n - 1] - level);
  for (size_t stage = 0; stage < inputs_.size(); ++stage) {
    auto out = convolve(stage, std::move(features));
    if (!out) return std::nullopt;
    features = std::move(*out);
  }
  // Three convolutions of three and the neighbours: these are the features of kLookahead frames ago.
  auto at = describe(features, frames_[n - 1 - kLookahead], levels_[n - 1 - kLookahead]);
  frames_.erase(frames_.begin());
  levels_.erase(levels_.begin());
  return at;
}

BlockGuides::AtFrame BlockGuides::describe(std::span<const float> features, std::span<const float> frame, float level) {
  const auto& w = *weights_;
  AtFrame at;
  at.level = level;
  at.film.resize(static_cast<size_t>(w.film.outputs()));
  at.lag_bias.resize(static_cast<size_t>(w.lag_bias.outputs()));
  at.magnitude.resize(kBins);
  w.film(features, at.film);
  w.lag_bias(features, at.lag_bias);

  std::vector<float> c(static_cast<size_t>(w.cepstrum.outputs()));
  w.cepstrum(features, c);
  at.log_sigma =
      std::clamp(c[0], static_cast<float>(BlockFlow::kLowestLevel), static_cast<float>(BlockFlow::kHighestLevel));
  for (size_t n = 1; n < c.size(); ++n) c[n] /= 1 + static_cast<float>(n) / 16;
  at.log_inverse = log_inverse(std::span(c).subspan(1));

  std::vector<float> bands;
  for (const float m : frame) bands.push_back(std::exp(m));
  w.mel_to_magnitude(bands, at.magnitude);
  for (float& m : at.magnitude) m = std::max(m, static_cast<float>(BlockFlow::kMagnitudeFloor));
  at.loudness = static_cast<float>(loudness(squares_of(at.magnitude)));
  const float most = proper_level(at) - level;
  at.log_sigma = std::min(at.log_sigma, most + std::log(static_cast<float>(BlockFlow::kLevelLimit)));
  at.room = most - at.log_sigma;
  return at;
}

float BlockGuides::proper_level(const AtFrame& at) {
  double norm = 0;
  for (int k = 0; k < kBins; ++k) norm += std::exp(2 * at.log_inverse[k]);
  return static_cast<float>(std::log(at.loudness / std::sqrt(norm / kBins)));
}

std::vector<float> BlockGuides::log_inverse(std::span<const float> cepstrum) {
  constexpr auto kLimit = static_cast<float>(BlockFlow::kSpectrumLimit);
  auto real = hearing_fft_.real();
  auto spectrum = hearing_fft_.spectrum();
  std::fill(real.begin(), real.end(), 0.0f);
  std::copy(cepstrum.begin(), cepstrum.end(), real.begin() + 1);
  hearing_fft_.forward();
  for (auto& bin : spectrum) bin = kLimit * std::tanh(bin.real() / kLimit);
  hearing_fft_.inverse();
  // Twice the even cepstrum's causal half; the transforms are unnormalised.
  double decay = 2.0 / kFft;
  real[0] = 0;
  for (size_t n = 1; n < kFft / 2; ++n) real[n] *= static_cast<float>(decay *= BlockFlow::kPoleRadius);
  std::fill(real.begin() + kFft / 2, real.end(), 0.0f);
  hearing_fft_.forward();
  std::vector<float> out;
  out.reserve(2 * kBins);
  for (const auto& bin : spectrum) out.push_back(bin.real());
  for (const auto& bin : spectrum) out.push_back(bin.imag());
  return out;
}

const BlockGuide* BlockGuides::next() {
  if (known_.size() < 2) return nullptr;
  blend((static_cast<double>(block_) + 0.5) / static_cast<double>(blocks_in_frame_));
  advance();
  return &guide_;
}

bool BlockGuides::skip() {
  if (known_.size() < 2) return false;
  advance();
  return true;
}

void BlockGuides::advance() {
  lerp(known_[0].magnitude, known_[1].magnitude, static_cast<float>(block_) / static_cast<float>(blocks_in_frame_),
       guide_.magnitude);
  look_behind();
  if (++block_ < blocks_in_frame_) return;
  block_ = 0;
  past_.push_back({.loudness = known_[0].loudness, .magnitude = std::move(known_[0].magnitude)});
  known_.pop_front();
  const auto asked = static_cast<size_t>((BlockFlow::kBehind - 1) / weights_->options.hop_length + 1);
  if (past_.size() > asked) past_.pop_front();
}

void BlockGuides::blend(double fraction) {
  const auto& a = known_[0];
  const auto& b = known_[1];
  const auto weight = static_cast<float>(fraction);
  lerp(a.film, b.film, weight, guide_.film);
  lerp(a.lag_bias, b.lag_bias, weight, guide_.lag_bias);
  const float level = a.level + weight * (b.level - a.level);
  guide_.gain = std::exp(level);
  guide_.most = static_cast<float>(BlockFlow::kBlockLimit) * std::exp(a.room + weight * (b.room - a.room));
  guide_.sigma = std::exp(level + a.log_sigma + weight * (b.log_sigma - a.log_sigma));
  // The blend of two minimum-phase filters that is one again.
  lerp(a.log_inverse, b.log_inverse, weight, blended_);
  cut();
}

/// Linear between frames, of which the first has been there before the beginning.
void BlockGuides::look_behind() {
  const auto& o = weights_->options;
  const int64_t hop = o.hop_length, samples = block_ * o.group_size - BlockFlow::kBehind;
  const int64_t frame = samples >= 0 ? samples / hop : -((hop - 1 - samples) / hop);
  const auto of = [&](int64_t at) -> const AtFrame& {
    if (at >= 0) return known_[static_cast<size_t>(at)];
    const auto back = std::min(static_cast<size_t>(-at), past_.size());
    return back == 0 ? known_[0] : past_[past_.size() - back];
  };
  const auto &before = of(frame), &after = of(frame + 1);
  const auto weight = static_cast<float>(samples - frame * hop) / static_cast<float>(hop);
  lerp(before.magnitude, after.magnitude, weight, guide_.magnitude_behind);
  guide_.loudness_behind = before.loudness + weight * (after.loudness - before.loudness);
}

double BlockGuides::cut_plainly(std::span<const float> log_inverse, audio::FloatRealFft& fft) {
  const auto bins = static_cast<size_t>(fft.bins());
  auto& taps = guide_.taps;
  const auto real = fft.real();
  falling_exponentials(log_inverse.data(), log_inverse.data() + bins, 1.0f / static_cast<float>(fft.size()),
                       fft.spectrum().data(), bins);
  power_.resize(bins);
  squares(fft.spectrum().data(), power_.data(), bins);
  fft.inverse();
  std::copy_n(real.begin(), taps.size(), taps.begin());
  taps[0] = 1.0f;
  std::fill_n(real.begin(), taps.size(), 0.0f);
  fft.forward();
  return largest_square_over(power_.data(), fft.spectrum().data(), bins) /
         (static_cast<double>(fft.size()) * fft.size());
}

void BlockGuides::cut() {
  constexpr double kLimit = BlockFlow::kCutLimit * BlockFlow::kCutLimit;
  if (cut_plainly(blended_, fft_) <= kLimit) return;
  if (!fine_fft_) fine_fft_.emplace(static_cast<int>(BlockFlow::kFineFft));
  for (size_t k = 0; k < kBins; ++k) fft_.spectrum()[k] = {blended_[k] / kFft, blended_[kBins + k] / kFft};
  fft_.inverse();
  const auto cepstrum = fine_fft_->real();
  std::copy_n(fft_.real().begin(), kFft / 2, cepstrum.begin());
  std::fill(cepstrum.begin() + kFft / 2, cepstrum.end(), 0.0f);
  fine_fft_->forward();
  const auto bins = static_cast<size_t>(fine_fft_->bins());
  std::vector<float> log_inverse(2 * bins);
  for (size_t k = 0; k < bins; ++k) {
    log_inverse[k] = fine_fft_->spectrum()[k].real();
    log_inverse[bins + k] = fine_fft_->spectrum()[k].imag();
  }
  const double error = cut_plainly(log_inverse, *fine_fft_);
  if (error <= kLimit) return;
  const double drawn = std::pow(error / kLimit, -0.5 / static_cast<double>(guide_.taps.size()));
  double product = 1;
  for (size_t n = 1; n < guide_.taps.size(); ++n) guide_.taps[n] *= static_cast<float>(product *= drawn);
}

}  // namespace melflow::engine
