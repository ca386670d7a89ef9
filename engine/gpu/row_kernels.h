#pragma once

#include "engine/gpu/staging.h"

namespace melflow::gpu {

/// What enters with a pass, into the rings: mel frames, rounded to a bfloat16 and the bfloat16 of what that left, and
/// noise.
struct EnterArgs {
  Rows rows;         ///< groups
  Rows frames;       ///< the same time in mel frames
  const float* mel;  ///< [slots, frames, n_mels]
  int32_t n_mels;
  Ring<Bf16> mel_high, mel_low;  ///< [.., n_mels to a multiple of 8]
  const float* z;                ///< [slots, groups, group_size]
  int32_t group_size;
  Ring<float> noise;  ///< [.., 8]
};

struct EnterKernel {
  using Args = EnterArgs;
  static constexpr int kThreads = 256;
  template <class Block>
  static constexpr int kSharedBytes = 0;

  template <class Block>
  static MELFLOW_DEVICE void run(Block& block, const Args& a) {
    block.threads([&](int thread) {
      const int32_t i = block.x() * kThreads + thread;
      const int32_t pairs = a.mel_high.stride / 2, row = i / pairs;
      if (row < a.frames.slots * a.frames.count) enter_mel(block, a, row, i % pairs * 2);
      if (i < a.rows.slots * a.rows.count) enter_noise(block, a, i);
    });
  }

 private:
  template <class Block>
  static MELFLOW_DEVICE void enter_mel(Block& block, const Args& a, int32_t row, int band) {
    const RowAt at = a.frames.at(block, row);
    if (!at.exists()) return;
    float v[2] = {0, 0};
    for (int i = 0; i < 2 && band + i < a.n_mels; ++i) {
      v[i] = block.template read<float>(a.mel + static_cast<int64_t>(row) * a.n_mels + band + i);
    }
    const uint32_t high = pack_bf16(v[0], v[1]);
    const uint32_t low = pack_bf16(v[0] - low_bf16(high), v[1] - high_bf16(high));
    block.write(reinterpret_cast<uint32_t*>(a.mel_high.at(a.mel_high.row(at.slot, at.time)) + band), high);
    block.write(reinterpret_cast<uint32_t*>(a.mel_low.at(a.mel_low.row(at.slot, at.time)) + band), low);
  }

  template <class Block>
  static MELFLOW_DEVICE void enter_noise(Block& block, const Args& a, int32_t row) {
    const RowAt at = a.rows.at(block, row);
    if (!at.exists()) return;
    float* to = a.noise.at(a.noise.row(at.slot, at.time));
    for (int c = 0; c < a.group_size; ++c) {
      block.write(to + c, block.template read<float>(a.z + static_cast<int64_t>(row) * a.group_size + c));
    }
  }
};

/// Between two flows, all in float32: the coupling's inverse, x_b = (z_b - shift) / exp(log s); the 1x1 convolution's
/// inverse; early noise in front; and the next flow's `start`, rounded to bfloat16. At the beginning only the last
/// two, at the end only the first two.
struct CoupleArgs {
  Rows rows;
  bool first, last;
  Ring<const float> latent, change, noise;  ///< [.., 8] each; change without the bias of `end`
  const float* end_bias;                    ///< [8]
  const float* inverse;                     ///< [channels, channels]
  int32_t channels, kept, early, early_at;  ///< as WaveGlow's flow; first: the channels of noise at early_at enter
  Ring<float> next;                         ///< latent of the next flow
  const float* start;                       ///< [next's kept + 1, x.stride]: weights, then the bias
  int32_t next_kept;
  Ring<Bf16> x;    ///< the next flow's first layer's input
  float* samples;  ///< last: [slots, count, channels + early]
};

struct CoupleKernel {
  using Args = CoupleArgs;
  static constexpr int kThreads = 256, kRows = 32, kRowBytes = 48;  ///< 8 floats; Int4 with the row in x
  template <class Block>
  static constexpr int kSharedBytes = kRows* kRowBytes;

  template <class Block>
  static MELFLOW_DEVICE void run(Block& block, const Args& a) {
    const int32_t row0 = block.y() * kRows;
    if (a.rows.none(block, row0, kRows)) return;
    block.threads([&](int thread) {
      if (thread >= kRows) return;
      const RowAt at = a.rows.at(block, row0 + thread);
      const auto base = static_cast<uint32_t>(thread * kRowBytes);
      float v[8] = {};
      if (at.exists()) couple(block, a, at, row0 + thread, v);
      block.store(thread, base, Float4{{v[0], v[1], v[2], v[3]}});
      block.store(thread, base + 16, Float4{{v[4], v[5], v[6], v[7]}});
      block.store(thread, base + 32, Int4{{at.exists() && !a.last ? a.x.row(at.slot, at.time) : -1, 0, 0, 0}});
    });
    block.sync();
    if (a.last) return;
    const int eights = a.x.stride / 8;
    block.threads([&](int thread) {
      for (int i = thread; i < kRows * eights; i += kThreads) start(block, a, thread, i / eights, i % eights * 8);
    });
  }

 private:
  /// → v: the next flow's latent.
  template <class Block>
  static MELFLOW_DEVICE void couple(Block& block, const Args& a, const RowAt& at, int32_t row, float (&v)[8]) {
    const float* noise = a.noise.at(a.noise.row(at.slot, at.time)) + a.early_at;
    int filled = 0;
    for (; filled < a.early; ++filled) v[filled] = block.template read<float>(noise + filled);
    if (!a.first) {
      const float *z = a.latent.at(a.latent.row(at.slot, at.time)),
                  *change = a.change.at(a.change.row(at.slot, at.time));
      float x[8] = {};
      MELFLOW_UNROLL
      for (int c = 0; c < 8; ++c) {
        if (c >= a.channels) continue;
        x[c] = block.template read<float>(z + c);
        if (c < a.kept) continue;
        const int shift = c - a.kept, log_s = shift + a.channels - a.kept;
        x[c] -= block.template read<float>(change + shift) + block.template read<float>(a.end_bias + shift);
        x[c] /= expf(block.template read<float>(change + log_s) + block.template read<float>(a.end_bias + log_s));
      }
      for (int i = 0; i < a.channels; ++i) {
        float sum = 0;
        MELFLOW_UNROLL
        for (int c = 0; c < 8; ++c) {
          if (c < a.channels) sum += block.template read<float>(a.inverse + i * a.channels + c) * x[c];
        }
        v[filled++] = sum;
      }
    }
    float* to = a.last ? a.samples + static_cast<int64_t>(row) * filled : a.next.at(a.next.row(at.slot, at.time));
    for (int c = 0; c < filled; ++c) block.write(to + c, v[c]);
  }

  template <class Block>
  static MELFLOW_DEVICE void start(Block& block, const Args& a, int thread, int row, int channel) {
    const auto base = static_cast<uint32_t>(row * kRowBytes);
    const int32_t to = block.template load<Int4>(thread, base + 32).v[0];
    if (to < 0) return;
    float v[8] = {};
    add_eight(block, a.start + a.next_kept * a.x.stride + channel, v);
    for (int k = 0; k < a.next_kept; ++k) {
      const float z = block.template load<float>(thread, base + static_cast<uint32_t>(4 * k));
      for (int half = 0; half < 2; ++half) {
        const auto w =
            block.template read<Float4>(reinterpret_cast<const Float4*>(a.start + k * a.x.stride + channel + 4 * half));
        MELFLOW_UNROLL
        for (int i = 0; i < 4; ++i) v[4 * half + i] += w.v[i] * z;
      }
    }
    block.write(reinterpret_cast<Word4*>(a.x.at(to) + channel), packed(v));
  }
};

}  // namespace melflow::gpu
