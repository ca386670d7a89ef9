// What a tile goes through on its way, layer by layer; waveglow_stream.cpp has the order and the time.
#include <algorithm>
#include <cmath>

#include "engine/synth/waveglow_stream.h"

namespace melflow::engine {

void WaveGlowStream::run_start(const ThreadTeam::Member& member, size_t flow, Range in) {
  const auto& w = *weights_;
  auto& s = scratch_[static_cast<size_t>(member.index())];
  for (int r = 0; r < in.count(); ++r) {
    s.rows[static_cast<size_t>(r)] =
        reinterpret_cast<const std::byte*>(flows_[flow].latent.at(in.begin + r) + weights_->flows[flow].kept_at);
  }
  const auto& start = w.flows[flow].start;
  const int width = w.kernels->width;
  member.share(1, in.count(), 1, [&](int, int a, int b) {
    for (int panel = 0; panel < start.panels(); ++panel) {
      start.start(panel, b - a, s.sums.data());
      start.add(panel, s.rows.data() + a, b - a, s.sums.data());
      for (int r = a; r < b; ++r) {
        std::copy_n(s.sums.data() + (r - a) * width, width, rows_[0].data() + r * w.stride + panel * width);
      }
    }
    pack_rows(rows_[0], a, b, packed_rows_[0]);
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
void WaveGlowStream::pack_rows(const cpu::AlignedFloats& rows, int begin, int end, RowRing& packed) {
  if (!packs()) return;
  const auto& product = weights_->kernels->product(weights_->precision);
  for (int r = begin; r < end; ++r) {
    product.pack_row(rows.data() + r * weights_->stride, weights_->channels, packed.bytes(r));
  }
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
    s.inputs[static_cast<size_t>(row - first_row)] = context_.at(group);
    for (int k = 0; k < kernel; ++k) {
      s.inputs[static_cast<size_t>((k + 1) * tile_rows() + r)] =
          packed_input(work, group + static_cast<int64_t>(k - (kernel - 1) / 2) * work.layer->dilation);
    }
  }
  member.share(gate.panels(), count, gate.row_block(), [&](int panel, int a, int b) {
    const std::byte* const* inputs = s.inputs.data();
    if (w.groups_per_row == 1) {
      gate.start(panel, b - a, s.sums.data());
      gate.add(panel, {0, kernel + 1, inputs + a, tile_rows()}, b - a, s.sums.data());
    } else {  // once for each frame, then the same for all its groups
      const int from = s.context_of[static_cast<size_t>(a)], to = s.context_of[static_cast<size_t>(b - 1)] + 1;
      gate.start(panel, to - from, s.context_sums.data());
      gate.add(panel, {0, 1, inputs + from, 0}, to - from, s.context_sums.data());
      for (int r = a; r < b; ++r) {
        std::copy_n(s.context_sums.data() + (s.context_of[static_cast<size_t>(r)] - from) * width, width,
                    s.sums.data() + (r - a) * width);
      }
      gate.add(panel, {1, kernel, inputs + tile_rows() + a, tile_rows()}, b - a, s.sums.data());
    }
    w.kernels->gate(s.sums.data(), b - a, activation_.data() + a * w.stride + panel * width / 2, w.stride);
  });
}

// A member's own rows, all panels: they are packed, multiplied, added up and packed again without leaving its cache.
void WaveGlowStream::run_output(const ThreadTeam::Member& member, const Work& work) {
  const auto& w = *weights_;
  const auto &residual = work.layer->residual, &skip = work.layer->skip;
  auto& s = scratch_[static_cast<size_t>(member.index())];
  const int width = w.kernels->width;
  member.share(1, work.out.count(), 1, [&](int, int a, int b) {
    pack_rows(activation_, a, b, packed_activation_);
    for (int r = a; r < b; ++r) {
      s.rows[static_cast<size_t>(r)] =
          packs() ? packed_activation_.bytes(r) : reinterpret_cast<const std::byte*>(activation_.data() + r * w.stride);
    }
    const auto multiply = [&](const cpu::PanelMatrix& matrix, int panel) {
      matrix.start(panel, b - a, s.sums.data());
      matrix.add(panel, s.rows.data() + a, b - a, s.sums.data());
    };
    for (int panel = 0; panel < residual.panels(); ++panel) {
      multiply(residual, panel);
      for (int r = a; r < b; ++r) {
        add_row(input(work, work.out.begin + r) + panel * width, s.sums.data() + (r - a) * width, width,
                work.next->data() + r * w.stride + panel * width);
      }
    }
    for (int panel = 0; panel < skip.panels(); ++panel) {
      multiply(skip, panel);
      for (int r = a; r < b; ++r) {
        float* change = work.state->change.at(work.out.begin + r) + panel * width;
        if (work.index == 0) std::fill_n(change, width, 0.0f);
        add_row(change, s.sums.data() + (r - a) * width, width, change);
      }
    }
    if (residual.panels() > 0) pack_rows(*work.next, a, b, *work.packed_next);
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
      std::copy_n(packed, cpu::row_bytes(weights_->precision, weights_->channels),
                  flows_[flow].packed[layer].bytes(in.begin + r));
    }
  });
}

}  // namespace melflow::engine
