#include "engine/synth/waveglow_context.h"

#include <cmath>

namespace melflow::engine {

WaveGlowContext::WaveGlowContext(std::shared_ptr<const WaveGlowWeights> weights, int64_t kept, int64_t batch)
    : weights_(std::move(weights)),
      rows_(batch / weights_->groups_per_row + 2, weights_->context_channels),
      packed_(kept / weights_->groups_per_row + 2, cpu::row_bytes(weights_->precision, weights_->context_channels) / 4),
      frames_(static_cast<size_t>((weights_->upsample_taps - 1) * weights_->n_mels)) {
  const int bands = weights_->n_mels;
  for (size_t i = 0; i < 2; ++i) {
    const int inputs = i == 0 ? bands : weights_->context_channels;
    stages_[i] = {&weights_->encoder[i], inputs, std::vector<float>(static_cast<size_t>(inputs))};
  }
}

void WaveGlowContext::push(std::span<const float> frames) {
  const auto bands = static_cast<size_t>(weights_->n_mels);
  if (!weights_->at_frames) {
    frames_.insert(frames_.end(), frames.begin(), frames.end());
  } else {
    for (size_t at = 0; at < frames.size(); at += bands) encode(0, frames.subspan(at, bands));
  }
}

void WaveGlowContext::finish() {
  if (!weights_->at_frames) return;
  for (size_t i = 0; i < 2; ++i) encode(i, std::vector<float>(static_cast<size_t>(stages_[i].inputs)));
}

// Three rows lie one after another, and so are one row of three times the length.
void WaveGlowContext::encode(size_t index, std::span<const float> row) {
  auto& stage = stages_[index];
  stage.waiting.insert(stage.waiting.end(), row.begin(), row.end());
  const auto inputs = static_cast<size_t>(stage.inputs);
  if (stage.waiting.size() < 3 * inputs) return;
  const auto* const row_bytes = reinterpret_cast<const std::byte*>(stage.waiting.data());
  const int width = weights_->kernels->width;
  std::vector<float> out(static_cast<size_t>(stage.matrix->panels() * width));
  cpu::AlignedFloats sums(static_cast<size_t>(width));
  for (int panel = 0; panel < stage.matrix->panels(); ++panel) {
    stage.matrix->start(panel, 1, sums.data());
    stage.matrix->add(panel, &row_bytes, 1, sums.data());
    for (int c = 0; c < width; ++c) {
      const float x = sums.data()[c];
      out[static_cast<size_t>(panel * width + c)] = x / (1.0f + std::exp(-x));
    }
  }
  out.resize(static_cast<size_t>(weights_->context_channels));
  stage.waiting.erase(stage.waiting.begin(), stage.waiting.begin() + stage.inputs);
  if (index == 0) {
    encode(1, out);
  } else {
    std::copy(out.begin(), out.end(), rows_.at(groups_ / weights_->groups_per_frame));
    pack(weights_->groups_per_frame);
  }
}

void WaveGlowContext::pack(int64_t groups) {
  const auto& product = weights_->kernels->product(weights_->precision);
  for (const int64_t end = groups_ + groups; groups_ < end; groups_ += weights_->groups_per_row) {
    const int64_t row = groups_ / weights_->groups_per_row;
    product.pack_row(rows_.at(row), weights_->context_channels, packed_.bytes(row));
  }
}

void WaveGlowContext::compute(const ThreadTeam::Member& member) {
  const auto& w = *weights_;
  if (w.at_frames) return;
  const int bands = w.n_mels, width = w.kernels->width;
  const int count = static_cast<int>(frames_.size()) / bands - w.upsample_taps + 1;
  std::vector<const std::byte*> rows(static_cast<size_t>(std::max(count, 0)));
  for (size_t f = 0; f < rows.size(); ++f) {
    rows[f] = reinterpret_cast<const std::byte*>(frames_.data() + f * static_cast<size_t>(bands));
  }
  cpu::AlignedFloats sums(rows.size() * static_cast<size_t>(width));
  const int columns = w.groups_per_frame * w.context_channels;
  member.share(w.upsample.panels(), count, w.upsample.row_block(), [&](int panel, int first, int last) {
    w.upsample.start(panel, last - first, sums.data());
    w.upsample.add(panel, rows.data() + first, last - first, sums.data());
    for (int f = first; f < last; ++f) {
      const float* from = sums.data() + static_cast<ptrdiff_t>(f - first) * width;
      for (int c = panel * width; c < std::min(columns, (panel + 1) * width); ++c) {
        rows_.at(groups_ + f * w.groups_per_frame + c / w.context_channels)[c % w.context_channels] =
            from[c - panel * width];
      }
    }
  });
}

void WaveGlowContext::computed() {
  const auto& w = *weights_;
  if (w.at_frames) return;
  const auto kept = static_cast<size_t>((w.upsample_taps - 1) * w.n_mels);
  pack(static_cast<int64_t>((frames_.size() - kept) / static_cast<size_t>(w.n_mels)) * w.groups_per_frame);
  frames_.erase(frames_.begin(), frames_.end() - static_cast<ptrdiff_t>(kept));
}

}  // namespace melflow::engine
