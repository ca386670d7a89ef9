#include "engine/synth/waveglow_stream.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace melflow::engine {

WaveGlowStream::WaveGlowStream(std::shared_ptr<const WaveGlowWeights> weights, std::shared_ptr<ThreadTeam> team,
                               Noise noise, double sigma)
    : weights_(std::move(weights)),
      team_(std::move(team)),
      noise_(std::move(noise)),
      sigma_(static_cast<float>(sigma)),
      context_(weights_, weights_->side() + std::max(tile_rows(), weights_->groups_per_frame),
               std::max(tile_rows(), weights_->groups_per_frame)),
      latent_(weights_->side() + std::max(tile_rows(), weights_->groups_per_frame), weights_->group_size),
      total_(std::numeric_limits<int64_t>::max()),
      activation_(static_cast<size_t>(tile_rows() * weights_->stride)),
      zeros_(
          static_cast<size_t>(std::max(weights_->stride, cpu::row_bytes(weights_->precision, weights_->channels) / 4))),
      samples_(static_cast<size_t>(tile_rows() * weights_->group_size)) {
  const auto& w = *weights_;
  const int packed_width = cpu::row_bytes(w.precision, w.channels) / 4;
  if (packs()) {
    for (auto* ring : {&packed_rows_[0], &packed_rows_[1], &packed_activation_}) *ring = {tile_rows(), packed_width};
  }
  for (const auto& flow : w.flows) {
    FlowState state{RowRing(w.flow_side + tile_rows(), flow.channels),
                    RowRing(w.flow_side + tile_rows(), flow.layers.front().skip.panels() * w.kernels->width),
                    {},
                    {}};
    for (const auto& layer : flow.layers) {
      state.history.emplace_back(std::max(1, 2 * layer.side), w.stride);
      if (packs()) state.packed.emplace_back(std::max(1, 2 * layer.side), packed_width);
    }
    flows_.push_back(std::move(state));
  }
  for (auto& rows : rows_) rows = cpu::AlignedFloats(static_cast<size_t>(tile_rows() * w.stride));
  for (int i = 0; i < team_->size(); ++i) {
    Scratch s;
    const auto tile = static_cast<size_t>(tile_rows()), width = static_cast<size_t>(w.kernels->width);
    s.rows.resize(tile);
    s.inputs.resize(tile * static_cast<size_t>(w.kernel + 1));
    s.context_of.resize(tile);
    s.sums = cpu::AlignedFloats(tile * width);
    s.context_sums = cpu::AlignedFloats(tile * width);
    scratch_.push_back(std::move(s));
  }
}

void WaveGlowStream::add(std::span<const float> frames, std::vector<float>& out) {
  const auto bands = static_cast<size_t>(weights_->n_mels);
  if (frames.size() % bands != 0) {
    throw Error(Exit::internal, "WaveGlowStream: " + std::to_string(frames.size()) + " values are no whole frames of " +
                                    std::to_string(bands));
  }
  const auto batch = static_cast<size_t>(std::max(1, tile_rows() / weights_->groups_per_frame)) * bands;
  for (size_t at = 0; at < frames.size(); at += batch) {
    context_.push(frames.subspan(at, std::min(batch, frames.size() - at)));
    team_->run([&](const ThreadTeam::Member& member) { context_.compute(member); });
    context_.computed();
    draw_noise(context_.groups());
    advance(context_.groups(), out);
  }
}

void WaveGlowStream::finish(std::vector<float>& out) {
  context_.finish();
  total_ = context_.groups();
  while (drawn_ < total_) {  // the last two frames, which may be more than what is kept
    draw_noise(std::min(total_, drawn_ + tile_rows()));
    advance(drawn_, out);
  }
  if (total_ > 0) advance(total_ + weights_->side(), out);
}

void WaveGlowStream::draw_noise(int64_t groups) {
  const int64_t count = groups - drawn_, channels = weights_->group_size;
  std::vector<float> z(static_cast<size_t>(std::max<int64_t>(count, 0) * channels));
  noise_.fill(channels, drawn_, count, z);
  for (int64_t g = 0; g < count; ++g) {
    float* row = latent_.at(drawn_ + g);
    for (int64_t c = 0; c < channels; ++c) row[c] = z[static_cast<size_t>(g * channels + c)] * sigma_;
  }
  drawn_ = groups;
}

void WaveGlowStream::advance(int64_t groups, std::vector<float>& out) {
  while (entered_ < groups) {
    const int count = static_cast<int>(std::min<int64_t>(tile_rows(), groups - entered_));
    team_->run([&](const ThreadTeam::Member& member) { step(member, entered_, count); });
    const auto ready = clip(entered_ - weights_->side(), count).count() * weights_->group_size;
    out.insert(out.end(), samples_.begin(), samples_.begin() + static_cast<ptrdiff_t>(ready));
    entered_ += count;
  }
}

WaveGlowStream::Range WaveGlowStream::clip(int64_t first, int count) const {
  return {std::clamp<int64_t>(first, 0, total_), std::clamp<int64_t>(first + count, 0, total_)};
}

// Each layer is `side` groups behind the one before it, whatever the cutting was; at the end time simply goes on.
void WaveGlowStream::step(const ThreadTeam::Member& member, int64_t first, int count) {
  if (member.index() == 0) {
    const int group = weights_->group_size, channels = weights_->flows.front().channels;
    const auto in = clip(first, count);
    for (auto t = in.begin; t < in.end; ++t) {
      std::copy_n(latent_.at(t) + group - channels, channels, flows_.front().latent.at(t));
    }
  }
  member.meet();
  for (size_t f = 0; f < flows_.size(); ++f) {
    const auto& layers = weights_->flows[f].layers;
    run_start(member, f, clip(first, count));
    member.meet();
    for (size_t i = 0; i < layers.size(); ++i) {
      const Work work{.layer = &layers[i],
                      .state = &flows_[f],
                      .index = i,
                      .in = clip(first, count),
                      .out = clip(first - layers[i].side, count),
                      .fresh = rows_[i % 2].data(),
                      .packed = &packed_rows_[i % 2],
                      .next = &rows_[(i + 1) % 2],
                      .packed_next = &packed_rows_[(i + 1) % 2]};
      run_gate(member, work);
      if (i > 0) keep_history(member, f, i - 1, clip(first + layers[i - 1].side, count));
      member.meet();
      run_output(member, work);
      member.meet();
      first -= layers[i].side;
    }
    couple(member, f, clip(first, count));
    keep_history(member, f, layers.size() - 1, clip(first + layers.back().side, count));
    member.meet();
  }
}

void WaveGlowStream::continue_from(const WaveGlowStream& other) {
  context_ = other.context_;
  latent_ = other.latent_;
  flows_ = other.flows_;
  drawn_ = other.drawn_;
  entered_ = other.entered_;
  total_ = other.total_;
}

size_t WaveGlowStream::state_bytes() const {
  size_t floats = context_.state_floats() + latent_.floats();
  for (const auto& flow : flows_) {
    floats += flow.latent.floats() + flow.change.floats();
    for (const auto& history : flow.history) floats += history.floats();
    for (const auto& packed : flow.packed) floats += packed.floats();
  }
  return floats * sizeof(float);
}

}  // namespace melflow::engine
