#include "engine/synth/waveglow_stream.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "audio/error.h"

namespace melflow::engine {

struct WaveGlowStream::Work {
  const WaveGlowWeights::Layer* layer;
  FlowState* state;
  size_t index;           // of the layer
  Range in, out;          // the rows that came in, the rows that can now go out
  const float* fresh;     // the rows of `in`
  const RowRing* packed;  // the same, by their number in the tile
  float* next;            // the rows of `out`, for the layer after this
};

WaveGlowStream::WaveGlowStream(std::shared_ptr<const WaveGlowWeights> weights, std::shared_ptr<ThreadTeam> team,
                               Noise noise, double sigma)
    : weights_(std::move(weights)),
      team_(std::move(team)),
      noise_(std::move(noise)),
      sigma_(static_cast<float>(sigma)),
      context_(weights_, weights_->side() + std::max(kTileRows, weights_->groups_per_frame),
               std::max(kTileRows, weights_->groups_per_frame)),
      latent_(weights_->side() + std::max(kTileRows, weights_->groups_per_frame), weights_->group_size),
      total_(std::numeric_limits<int64_t>::max()),
      activation_(static_cast<size_t>(kTileRows * weights_->stride)),
      zeros_(static_cast<size_t>(std::max(weights_->stride, row_bytes(weights_->precision, weights_->channels) / 4))),
      samples_(static_cast<size_t>(kTileRows * weights_->group_size)) {
  const auto& w = *weights_;
  const int packed_width = row_bytes(w.precision, w.channels) / 4;
  if (packs()) {
    for (auto* ring : {&packed_rows_[0], &packed_rows_[1], &packed_activation_}) *ring = {kTileRows, packed_width};
  }
  for (const auto& flow : w.flows) {
    FlowState state{RowRing(w.flow_side + kTileRows, flow.channels),
                    RowRing(w.flow_side + kTileRows, flow.layers.front().skip.panels() * w.kernels->width),
                    {},
                    {}};
    for (const auto& layer : flow.layers) {
      state.history.emplace_back(std::max(1, 2 * layer.side), w.stride);
      if (packs()) state.packed.emplace_back(std::max(1, 2 * layer.side), packed_width);
    }
    flows_.push_back(std::move(state));
  }
  for (auto& rows : rows_) rows = AlignedFloats(static_cast<size_t>(kTileRows * w.stride));
  for (int i = 0; i < team_->size(); ++i) {
    Scratch s;
    const auto tile = static_cast<size_t>(kTileRows), width = static_cast<size_t>(w.kernels->width);
    s.rows.resize(tile);
    s.taps.resize(tile * static_cast<size_t>(w.kernel));
    s.context.resize(tile + 1);
    s.context_of.resize(tile);
    s.sums = AlignedFloats(tile * width);
    s.context_sums = AlignedFloats((tile + 1) * width);
    scratch_.push_back(std::move(s));
  }
}

void WaveGlowStream::add(std::span<const float> frames, std::vector<float>& out) {
  const auto bands = static_cast<size_t>(weights_->n_mels);
  if (frames.size() % bands != 0) {
    throw Error(Exit::internal, "WaveGlowStream: " + std::to_string(frames.size()) + " values are no whole frames of " +
                                    std::to_string(bands));
  }
  const auto batch = static_cast<size_t>(std::max(1, kTileRows / weights_->groups_per_frame)) * bands;
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
  draw_noise(total_);
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
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, groups - entered_));
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
    pack_rows(member, rows_[0], clip(first, count).count(), packed_rows_[0]);
    for (size_t i = 0; i < layers.size(); ++i) {
      const Work work{.layer = &layers[i],
                      .state = &flows_[f],
                      .index = i,
                      .in = clip(first, count),
                      .out = clip(first - layers[i].side, count),
                      .fresh = rows_[i % 2].data(),
                      .packed = &packed_rows_[i % 2],
                      .next = rows_[(i + 1) % 2].data()};
      run_gate(member, work);
      if (i > 0) keep_history(member, f, i - 1, clip(first + layers[i - 1].side, count));
      member.meet();
      pack_rows(member, activation_, work.out.count(), packed_activation_);
      run_output(member, work);
      member.meet();
      if (i + 1 < layers.size()) pack_rows(member, rows_[(i + 1) % 2], work.out.count(), packed_rows_[(i + 1) % 2]);
      first -= layers[i].side;
    }
    couple(member, f, clip(first, count));
    keep_history(member, f, layers.size() - 1, clip(first + layers.back().side, count));
    member.meet();
  }
}

void WaveGlowStream::run_start(const ThreadTeam::Member& member, size_t flow, Range in) {
  const auto& w = *weights_;
  auto& s = scratch_[static_cast<size_t>(member.index())];
  for (int r = 0; r < in.count(); ++r) {
    s.rows[static_cast<size_t>(r)] =
        reinterpret_cast<const std::byte*>(flows_[flow].latent.at(in.begin + r) + weights_->flows[flow].kept_at);
  }
  const auto& start = w.flows[flow].start;
  const int width = w.kernels->width;
  member.share(start.panels(), in.count(), w.kernels->row_block, [&](int panel, int a, int b) {
    start.start(panel, b - a, s.sums.data());
    start.add(panel, 0, s.rows.data() + a, b - a, s.sums.data());
    for (int r = a; r < b; ++r) {
      std::copy_n(s.sums.data() + (r - a) * width, width, rows_[0].data() + r * w.stride + panel * width);
    }
  });
}

/// out = a + b. Panels are whole vectors, and lie apart or are the same.
inline void add_row(const float* a, const float* b, int width, float* out) {
#pragma GCC ivdep
  for (int c = 0; c < width; ++c) out[c] = a[c] + b[c];
}

/// A layer's input at any group: kept, fresh, or zero beyond the ends.
const float* WaveGlowStream::input(const Work& work, int64_t group) const {
  if (group < 0 || group >= work.in.end) return zeros_.data();
  if (group >= work.in.begin) return work.fresh + (group - work.in.begin) * weights_->stride;
  return work.state->history[work.index].at(group);
}

const std::byte* WaveGlowStream::packed_input(const Work& work, int64_t group) const {
  if (!packs()) return reinterpret_cast<const std::byte*>(input(work, group));
  if (group < 0 || group >= work.in.end) return reinterpret_cast<const std::byte*>(zeros_.data());
  if (group >= work.in.begin) return work.packed->bytes(group - work.in.begin);
  return work.state->packed[work.index].bytes(group);
}

/// Into the layers' precision, which for int8 needs a row's largest number, and so whole rows.
void WaveGlowStream::pack_rows(const ThreadTeam::Member& member, const AlignedFloats& rows, int count,
                               RowRing& packed) {
  if (!packs()) return;
  member.share(1, count, 1, [&](int, int a, int b) {
    for (int r = a; r < b; ++r) {
      weights_->kernels->product(weights_->precision)
          .pack_row(rows.data() + r * weights_->stride, weights_->channels, packed.bytes(r));
    }
  });
  member.meet();
}

void WaveGlowStream::run_gate(const ThreadTeam::Member& member, const Work& work) {
  const auto& w = *weights_;
  const auto& gate = work.layer->gate;
  auto& s = scratch_[static_cast<size_t>(member.index())];
  const int count = work.out.count(), kernel = w.kernel, width = w.kernels->width;
  const int64_t first_row = work.out.begin / w.groups_per_row;
  for (int r = 0; r < count; ++r) {
    const int64_t group = work.out.begin + r, row = group / w.groups_per_row;
    s.context_of[static_cast<size_t>(r)] = static_cast<int>(row - first_row);
    s.context[static_cast<size_t>(row - first_row)] = context_.at(group);
    for (int k = 0; k < kernel; ++k) {
      s.taps[static_cast<size_t>(k * kTileRows + r)] =
          packed_input(work, group + static_cast<int64_t>(k - (kernel - 1) / 2) * work.layer->dilation);
    }
  }
  member.share(gate.panels(), count, w.kernels->row_block, [&](int panel, int a, int b) {
    if (w.groups_per_row == 1) {
      gate.start(panel, b - a, s.sums.data());
      gate.add(panel, 0, s.context.data() + a, b - a, s.sums.data());
    } else {  // once for each frame, then the same for all its groups
      const int from = s.context_of[static_cast<size_t>(a)], to = s.context_of[static_cast<size_t>(b - 1)] + 1;
      gate.start(panel, to - from, s.context_sums.data());
      gate.add(panel, 0, s.context.data() + from, to - from, s.context_sums.data());
      for (int r = a; r < b; ++r) {
        std::copy_n(s.context_sums.data() + (s.context_of[static_cast<size_t>(r)] - from) * width, width,
                    s.sums.data() + (r - a) * width);
      }
    }
    for (int k = 0; k < kernel; ++k) {
      gate.add(panel, k + 1, s.taps.data() + k * kTileRows + a, b - a, s.sums.data());
    }
    w.kernels->gate(s.sums.data(), b - a, activation_.data() + a * w.stride + panel * width / 2, w.stride);
  });
}

void WaveGlowStream::run_output(const ThreadTeam::Member& member, const Work& work) {
  const auto& w = *weights_;
  const auto &residual = work.layer->residual, &skip = work.layer->skip;
  auto& s = scratch_[static_cast<size_t>(member.index())];
  const int count = work.out.count(), width = w.kernels->width;
  for (int r = 0; r < count; ++r) {
    s.rows[static_cast<size_t>(r)] =
        packs() ? packed_activation_.bytes(r) : reinterpret_cast<const std::byte*>(activation_.data() + r * w.stride);
  }
  member.share(residual.panels() + skip.panels(), count, w.kernels->row_block, [&](int panel, int a, int b) {
    const bool is_skip = panel >= residual.panels();
    const auto& matrix = is_skip ? skip : residual;
    const int own = is_skip ? panel - residual.panels() : panel;
    matrix.start(own, b - a, s.sums.data());
    matrix.add(own, 0, s.rows.data() + a, b - a, s.sums.data());
    for (int r = a; r < b; ++r) {
      const float* sum = s.sums.data() + (r - a) * width;
      const int64_t group = work.out.begin + r;
      if (is_skip) {
        float* change = work.state->change.at(group) + own * width;
        if (work.index == 0) std::fill_n(change, width, 0.0f);
        add_row(change, sum, width, change);
      } else {
        add_row(input(work, group) + own * width, sum, width, work.next + r * w.stride + own * width);
      }
    }
  });
}

/// (shift, log s) → the other half of the channels, then the 1x1 convolution's inverse, then early noise in front.
void WaveGlowStream::couple(const ThreadTeam::Member& member, size_t index, Range rows) {
  const auto& flow = weights_->flows[index];
  const auto group = weights_->group_size;
  const bool last = index + 1 == flows_.size();
  member.share(1, rows.count(), 1, [&](int, int a, int b) {
    for (int r = a; r < b; ++r) {
      const int64_t t = rows.begin + r;
      float* x = flows_[index].latent.at(t);
      const float* change = flows_[index].change.at(t);
      for (int c = 0; c < flow.moved; ++c) {
        x[flow.moved_at + c] = (x[flow.moved_at + c] - change[c]) / std::exp(change[flow.moved + c]);
      }
      float* out = last ? samples_.data() + r * group : flows_[index + 1].latent.at(t);
      for (int c = 0; c < flow.early; ++c) *out++ = latent_.at(t)[flow.early_at + c];
      for (int i = 0; i < flow.channels; ++i) {
        const float* row = flow.inverse.data() + i * flow.channels;
        double sum = 0;
        for (int c = 0; c < flow.channels; ++c) sum += static_cast<double>(row[c]) * x[c];
        *out++ = static_cast<float>(sum);
      }
    }
  });
}

void WaveGlowStream::keep_history(const ThreadTeam::Member& member, size_t flow, size_t layer, Range in) {
  auto& history = flows_[flow].history[layer];
  const int kept = static_cast<int>(std::min<int64_t>(history.rows(), in.count())), skipped = in.count() - kept;
  member.share(1, kept, 1, [&](int, int a, int b) {
    for (int r = skipped + a; r < skipped + b; ++r) {
      std::copy_n(rows_[layer % 2].data() + r * weights_->stride, weights_->stride, history.at(in.begin + r));
      if (!packs()) continue;
      const auto* packed = packed_rows_[layer % 2].bytes(r);
      std::copy_n(packed, row_bytes(weights_->precision, weights_->channels),
                  flows_[flow].packed[layer].bytes(in.begin + r));
    }
  });
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
