#include "engine/synth/denoiser.h"

#include <algorithm>
#include <cmath>

#include "audio/stft.h"

namespace melflow::engine {
namespace {

constexpr int kFft = Denoiser::kFft, kHop = Denoiser::kHop, kPad = kFft / 2;

}  // namespace

std::vector<float> denoiser_bias(const StreamSource& source, const audio::MelOptions& recipe) {
  // As many frames as the published one takes; of a short hop, what a transform takes.
  const int frames = std::max(88, (kFft + recipe.hop_length - 1) / recipe.hop_length);
  const auto stream = source.open(Noise(0), /*sigma=*/0.0);
  std::vector<float> hum;
  stream->add(std::vector<float>(static_cast<size_t>(frames * recipe.n_mels), 0.0f), hum);
  stream->finish(hum);
  audio::Stft stft(audio::StftOptions{.n_fft = kFft, .hop_length = kHop, .win_length = kFft});
  const auto spectrogram = stft.forward(hum);
  std::vector<float> bias;
  for (const auto bin : spectrogram.frame(0)) bias.push_back(std::abs(bin));
  return bias;
}

Denoiser::Denoiser(std::vector<float> bias, float strength)
    : bias_(std::move(bias)), window_(kFft), frame_(kFft), sum_(kFft), weight_(kFft), skip_(kPad), fft_(kFft) {
  const auto window = audio::hann_window(kFft);
  std::copy(window.begin(), window.end(), window_.begin());
  for (float& b : bias_) b *= strength;
}

void Denoiser::push(std::span<const float> samples, std::vector<float>& out) {
  for (const float sample : samples) {
    ++taken_;
    tail_.push_back(sample);
    if (started_) {
      take(sample, out);
    } else {
      head_.push_back(sample);
      if (head_.size() == kPad + 1) {
        started_ = true;
        for (int i = kPad; i > 0; --i) take(head_[i], out);
        for (const float early : head_) take(early, out);
      }
    }
  }
  if (tail_.size() > 4 * kPad) tail_.erase(tail_.begin(), tail_.end() - (kPad + 1));
}

void Denoiser::take(float sample, std::vector<float>& out) {
  frame_[filled_++] = sample;
  if (filled_ == kFft) {
    add_frame();
    give_hop(out);
  }
}

void Denoiser::add_frame() {
  auto real = fft_.real();
  for (int i = 0; i < kFft; ++i) real[i] = frame_[i] * window_[i];
  fft_.forward();
  auto spectrum = fft_.spectrum();
  for (size_t k = 0; k < bias_.size(); ++k) {
    const float magnitude = std::abs(spectrum[k]);
    spectrum[k] *= magnitude > bias_[k] ? (magnitude - bias_[k]) / magnitude : 0.0f;
  }
  fft_.inverse();
  for (int i = 0; i < kFft; ++i) {
    sum_[i] += real[i] * window_[i] / kFft;
    weight_[i] += window_[i] * window_[i];
  }
}

// The first hop of the sum is finished: no later frame reaches it.
void Denoiser::give_hop(std::vector<float>& out) {
  for (int i = 0; i < kHop; ++i) {
    if (skip_ > 0) {
      --skip_;
    } else if (given_ < taken_) {
      out.push_back(weight_[i] > 1e-9f ? sum_[i] / weight_[i] : 0.0f);
      ++given_;
    }
  }
  const auto shift = [](std::vector<float>& v) {
    std::copy(v.begin() + kHop, v.end(), v.begin());
    std::fill(v.end() - kHop, v.end(), 0.0f);
  };
  shift(sum_);
  shift(weight_);
  shift(frame_);
  filled_ = kFft - kHop;
}

void Denoiser::finish(std::vector<float>& out) {
  if (!started_) {  // too short to be reflected, and so for a spectrum: left as it is
    out.insert(out.end(), head_.begin(), head_.end());
    return;
  }
  const size_t n = tail_.size();
  for (size_t i = 2; i <= kPad + 1; ++i) take(tail_[n - i], out);
  while (given_ < taken_) give_hop(out);
}

}  // namespace melflow::engine
