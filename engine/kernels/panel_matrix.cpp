#include "engine/kernels/panel_matrix.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace melflow::engine {
namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

AlignedFloats::AlignedFloats(size_t count)
    : values_(static_cast<float*>(::operator new(std::max<size_t>(count, 1) * sizeof(float), kAlignment))),
      count_(count) {
  std::memset(values_.get(), 0, count * sizeof(float));
}

void AlignedFloats::Free::operator()(float* p) const { ::operator delete(p, kAlignment); }

PanelMatrix::PanelMatrix(const TileKernels& kernels, int depth, int columns)
    : kernels_(&kernels),
      depth_(depth),
      width_(kernels.width),
      panels_((columns + kernels.width - 1) / kernels.width),
      values_(offset(panels_, 0)),
      bias_(static_cast<size_t>(panels_) * static_cast<size_t>(width_)) {}

void PanelMatrix::start(int panel, int count, float* sums) const {
  const float* bias = bias_.data() + static_cast<ptrdiff_t>(panel) * width_;
  for (int r = 0; r < count; ++r, sums += width_) std::copy_n(bias, width_, sums);
}

void PanelMatrix::add(int panel, int first, int depth, const float* const* rows, int count, float* sums) const {
  const float* values = values_.data() + offset(panel, first);
  for (int k = 0; k < depth; k += kernels_->depth) {
    const int part = std::min(kernels_->depth, depth - k);
    kernels_->multiply(rows, k, count, values + static_cast<ptrdiff_t>(k) * width_, part, sums);
  }
}

}  // namespace melflow::engine
