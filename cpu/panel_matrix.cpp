#include "cpu/panel_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <new>
#include <numeric>
#include <utility>

#include "cpu/words.h"

namespace melflow::cpu {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

AlignedFloats::AlignedFloats(size_t count)
    : values_(static_cast<float*>(::operator new(std::max<size_t>(count, 1) * sizeof(float), kAlignment))),
      count_(count) {
  std::memset(values_.get(), 0, count * sizeof(float));
}

AlignedFloats::AlignedFloats(const AlignedFloats& other) : AlignedFloats(other.count_) {
  std::copy_n(other.data(), count_, data());
}

AlignedFloats& AlignedFloats::operator=(AlignedFloats other) noexcept {
  values_.swap(other.values_);
  std::swap(count_, other.count_);
  return *this;
}

void AlignedFloats::Free::operator()(float* p) const { ::operator delete(p, kAlignment); }

PanelMatrix::PanelMatrix(const TileKernels& kernels, Precision precision, std::vector<int> segments, int columns,
                         Filled filled)
    : kernels_(&kernels),
      precision_(precision),
      segments_(std::move(segments)),
      depth_(std::accumulate(segments_.begin(), segments_.end(), 0)),
      width_(kernels.width),
      panels_((columns + kernels.width - 1) / kernels.width),
      bias_(static_cast<size_t>(panels_) * static_cast<size_t>(width_)) {
  const int run = kernels.product(precision).run;
  offsets_.push_back(0);
  for (const int depth : segments_) {
    size_t floats = offsets_.back();
    for (int words = words_of(precision_, depth); words > 0; words -= run) {
      floats += run_floats(std::min(words, run));
    }
    offsets_.push_back(floats);
  }
  const auto numbers = static_cast<size_t>(depth_) * static_cast<size_t>(width_);
  values_ = AlignedFloats(static_cast<size_t>(panels_) * (filled == Filled::by_number ? numbers : offsets_.back()));
}

/// Int8 keeps a scale and 128·Σ weights for each column behind the words.
size_t PanelMatrix::run_floats(int words) const {
  const int tail = precision_ == Precision::int8 ? 2 : 0;
  return static_cast<size_t>(words + tail) * static_cast<size_t>(width_);
}

void PanelMatrix::pack() {
  if (precision_ == Precision::fp32) return;  // as it stands
  const auto numbers = std::exchange(values_, AlignedFloats(static_cast<size_t>(panels_) * offsets_.back()));
  for (int p = 0; p < panels_; ++p) pack_panel(p, numbers.data() + static_cast<ptrdiff_t>(p) * depth_ * width_);
}

void PanelMatrix::pack_panel(int panel, const float* values) {
  float* const packed = values_.data() + static_cast<size_t>(panel) * offsets_.back();
  const int run = kernels_->product(precision_).run * numbers_in_word(precision_);
  for (size_t s = 0; s < segments_.size(); ++s) {
    float* to = packed + offsets_[s];
    for (int depth = segments_[s]; depth > 0; depth -= run) {
      const int part = std::min(depth, run);
      pack_run(values, part, reinterpret_cast<std::byte*>(to));
      values += static_cast<ptrdiff_t>(part) * width_;
      to += run_floats(words_of(precision_, part));
    }
  }
}

void PanelMatrix::pack_run(const float* values, int depth, std::byte* packed) const {
  if (precision_ != Precision::int8) {
    for (int k = 0; k < depth; k += numbers_in_word(precision_), packed += 4 * static_cast<ptrdiff_t>(width_)) {
      const float* row = values + static_cast<ptrdiff_t>(k) * width_;
      pack_words(precision_, row, k + 1 < depth ? row + width_ : nullptr, width_, packed);
    }
    return;
  }
  const ptrdiff_t words = words_of(precision_, depth);
  for (int c = 0; c < width_; ++c) {
    float limit = 0;
    for (int k = 0; k < depth; ++k) limit = std::max(limit, std::abs(values[k * width_ + c]));
    const float scale = limit / 127, factor = limit > 0 ? 127 / limit : 0;
    int32_t sum = 0;
    for (int k = 0; k < depth; ++k) {
      const auto rounded = static_cast<int8_t>(std::lrint(values[k * width_ + c] * factor));
      std::memcpy(packed + 4 * (static_cast<ptrdiff_t>(k / 4) * width_ + c) + k % 4, &rounded, 1);
      sum += 128 * rounded;
    }
    std::memcpy(packed + 4 * (words * width_ + c), &scale, 4);
    std::memcpy(packed + 4 * ((words + 1) * width_ + c), &sum, 4);
  }
}

void PanelMatrix::start(int panel, int count, float* sums) const {
  const float* bias = bias_.data() + static_cast<ptrdiff_t>(panel) * width_;
  for (int r = 0; r < count; ++r, sums += width_) std::copy_n(bias, width_, sums);
}

void PanelMatrix::add(int panel, const Segments& segments, int count, float* sums) const {
  const auto& product = kernels_->product(precision_);
  const float* panel_at = values_.data() + static_cast<size_t>(panel) * offsets_.back();
  TileRun runs[16];
  int n = 0;
  for (int s = 0; s < segments.count; ++s) {
    const auto index = static_cast<size_t>(segments.first + s);
    const float* weights = panel_at + offsets_[index];
    const int words = words_of(precision_, segments_[index]);
    for (int first = 0; first < words; first += product.run) {
      if (n == std::ssize(runs)) product.multiply(runs, std::exchange(n, 0), count, sums);
      const int part = std::min(product.run, words - first);
      runs[n++] = {segments.rows + s * segments.apart, first, reinterpret_cast<const std::byte*>(weights), part};
      weights += run_floats(part);
    }
  }
  product.multiply(runs, n, count, sums);
}

}  // namespace melflow::cpu
