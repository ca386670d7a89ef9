#include "audio/frame_magnitudes.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "cpu/clones.h"

namespace melflow::audio {
namespace {

/// Rows that are transposed together.
constexpr int kBlock = 8;
using Block [[gnu::vector_size(kBlock * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;

/// out[i·stride + r] = rows[r·length + i] for 0 ≤ i < length, 0 ≤ r < kBlock.
MELFLOW_CPU_CLONES void transpose(const float* __restrict rows, int length, int stride, float* __restrict out) {
  int i = 0;
  for (; i + kBlock <= length; i += kBlock) {
    Block a[kBlock], b[kBlock];
    for (int r = 0; r < kBlock; ++r)
      a[r] = *reinterpret_cast<const Block*>(rows + r * static_cast<ptrdiff_t>(length) + i);
    // Neighbours are interleaved, then pairs, then halves.
    for (int r = 0; r < kBlock; r += 2) {
      b[r] = __builtin_shufflevector(a[r], a[r + 1], 0, 8, 1, 9, 4, 12, 5, 13);
      b[r + 1] = __builtin_shufflevector(a[r], a[r + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int r = 0; r < kBlock; r += 4) {
      for (int j = 0; j < 2; ++j) {
        a[r + 2 * j] = __builtin_shufflevector(b[r + j], b[r + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[r + 2 * j + 1] = __builtin_shufflevector(b[r + j], b[r + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
      }
    }
    float* const target = out + i * static_cast<ptrdiff_t>(stride);
    for (int j = 0; j < 4; ++j) {
      *reinterpret_cast<Block*>(target + j * static_cast<ptrdiff_t>(stride)) =
          __builtin_shufflevector(a[j], a[j + 4], 0, 1, 2, 3, 8, 9, 10, 11);
      *reinterpret_cast<Block*>(target + (j + 4) * static_cast<ptrdiff_t>(stride)) =
          __builtin_shufflevector(a[j], a[j + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
  }
  for (; i < length; ++i) {
    for (int r = 0; r < kBlock; ++r)
      out[i * static_cast<ptrdiff_t>(stride) + r] = rows[r * static_cast<ptrdiff_t>(length) + i];
  }
}

/// out[k] = sqrt(|spectrum[k]|² + epsilon); re and im alternate in memory.
MELFLOW_CPU_CLONES void magnitudes(const double* __restrict spectrum, double epsilon, int bins, float* __restrict out) {
  for (int k = 0; k < bins; ++k) {
    const double re = spectrum[2 * k], im = spectrum[2 * k + 1];
    out[k] = static_cast<float>(re * re + im * im + epsilon);
  }
  for (int k = 0; k < bins; ++k) out[k] = std::sqrt(out[k]);
}

}  // namespace

FrameMagnitudes::FrameMagnitudes(const StftOptions& options, int bins, double epsilon)
    : options_(options), bins_(bins), epsilon_(epsilon), out_(static_cast<size_t>(bins) * kLanes) {
  window_ = hann_window(options.win_length);
  const int n = options.n_fft, hop = options.hop_length, margin = (n - options.win_length) / 2;
  if (!LaneFft::serves(n)) {
    single_.emplace(n);
    rows_.resize(static_cast<size_t>(kLanes) * static_cast<size_t>(bins));
    return;
  }
  needed_ = kLanes + (n - 1) / hop;
  stride_ = (needed_ + kBlock - 1) / kBlock * kBlock;
  const int zeros = hop * stride_;
  columns_.resize(static_cast<size_t>(zeros + kLanes));
  rows_.resize(static_cast<size_t>(kBlock) * static_cast<size_t>(hop));
  std::vector<double> window(static_cast<size_t>(n));
  std::vector<int32_t> offset(static_cast<size_t>(n), zeros);
  for (int t = margin; t < margin + options.win_length; ++t) {
    window[static_cast<size_t>(t)] = window_[static_cast<size_t>(t - margin)];
    offset[static_cast<size_t>(t)] = t % hop * stride_ + t / hop;
  }
  lanes_.emplace(window, offset, bins);
}

const float* FrameMagnitudes::operator()(std::span<const float> samples, int64_t first, int count) {
  assert(count >= 1 && count <= kLanes);
  if (lanes_) {
    load_rows(samples, first, count);
    lanes_->magnitudes(columns_.data(), count, epsilon_, out_.data());
  } else {
    transform_singly(samples, first, count);
  }
  return out_.data();
}

void FrameMagnitudes::load_rows(std::span<const float> samples, int64_t first, int count) {
  const int64_t hop = options_.hop_length, size = static_cast<int64_t>(samples.size());
  const int needed = needed_ - kLanes + count;
  for (int row = 0; row < needed; row += kBlock) {
    const int64_t begin = (first + row) * hop - options_.pad_length();
    const float* source = rows_.data();
    if (begin >= 0 && begin + kBlock * hop <= size) {
      source = samples.data() + begin;
    } else {
      // No frame sees what lies beyond the padding.
      const int64_t there = std::clamp<int64_t>(size + options_.pad_length() - begin, 0, kBlock * hop);
      copy_padded(samples, options_.pad, begin, std::span(rows_).first(static_cast<size_t>(there)));
      std::fill(rows_.begin() + there, rows_.end(), 0.0f);
    }
    transpose(source, static_cast<int>(hop), stride_, columns_.data() + row);
  }
}

void FrameMagnitudes::transform_singly(std::span<const float> samples, int64_t first, int count) {
  for (int lane = 0; lane < count; ++lane) {
    load_frame(options_, samples, window_, first + lane, single_->real());
    single_->forward();
    magnitudes(reinterpret_cast<const double*>(single_->spectrum().data()), epsilon_, bins_,
               rows_.data() + lane * static_cast<ptrdiff_t>(bins_));
  }
  for (int lane = 0; lane < count; lane += kBlock) {
    transpose(rows_.data() + lane * static_cast<ptrdiff_t>(bins_), bins_, kLanes, out_.data() + lane);
  }
}

}  // namespace melflow::audio
