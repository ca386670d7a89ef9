#include "audio/lane_fft.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <type_traits>

#include "cpu/levels.h"

namespace melflow::audio {

extern const LaneFftKernelSet kPortableLaneFftKernels, kAvx2LaneFftKernels, kAvx512LaneFftKernels;

namespace {

std::vector<const LaneFftKernelSet*> runnable_sets() {
  std::vector<const LaneFftKernelSet*> out;
#ifdef MELFLOW_X86_KERNELS
  if (cpu::has_v4()) out.push_back(&kAvx512LaneFftKernels);
  if (cpu::has_v3()) out.push_back(&kAvx2LaneFftKernels);
#endif
  out.push_back(&kPortableLaneFftKernels);
  return out;
}

template <typename Real>
std::vector<const LaneFftKernels<Real>*> find_runnable() {
  std::vector<const LaneFftKernels<Real>*> out;
  for (const auto* set : runnable_sets()) {
    if constexpr (std::is_same_v<Real, double>) {
      out.push_back(&set->doubles);
    } else {
      if (set->wide_floats.width > 0) out.push_back(&set->wide_floats);
      out.push_back(&set->floats);
    }
  }
  return out;
}

/// Appends the samples' numbers in the order of the leaves: those ≡ first modulo step, each residue class of eight
/// times the step after the other.
void append_leaves(int first, int step, int n, int leaf, std::vector<int>& order) {
  if (n / step == leaf) {
    for (int t = first; t < n; t += step) order.push_back(t);
    return;
  }
  for (int r = 0; r < 8; ++r) append_leaves(first + r * step, 8 * step, n, leaf, order);
}

template <typename Real>
std::vector<Real> twiddles(int leaf, int n) {
  std::vector<Real> out;
  for (int length = leaf; length < n; length *= 8) {
    for (int k = 1; k < length / 2; ++k) {
      for (int r = 1; r < 8; ++r) {
        const double angle = -2.0 * std::numbers::pi * r * k / (8.0 * length);
        out.push_back(static_cast<Real>(std::cos(angle)));
        out.push_back(static_cast<Real>(std::sin(angle)));
      }
    }
  }
  return out;
}

}  // namespace

template <typename Real>
std::span<const LaneFftKernels<Real>* const> runnable_lane_fft_kernels() {
  static const std::vector<const LaneFftKernels<Real>*> runnable = find_runnable<Real>();
  return runnable;
}

template <typename Real>
const LaneFftKernels<Real>& fastest_lane_fft_kernels(int lanes) {
  const auto all = runnable_lane_fft_kernels<Real>();
  return **std::ranges::find_if(all, [=](const auto* kernels) { return kernels->width <= lanes; });
}

template <typename Real>
bool BasicLaneFft<Real>::serves(int n) {
  return n >= 32 && n <= 16384 && std::has_single_bit(static_cast<unsigned>(n));
}

template <typename Real>
std::vector<int32_t> BasicLaneFft<Real>::side_by_side(int n, int lanes) {
  std::vector<int32_t> offsets;
  for (int t = 0; t < n; ++t) offsets.push_back(t * lanes);
  return offsets;
}

template <typename Real>
BasicLaneFft<Real>::BasicLaneFft(std::span<const double> window, std::span<const int32_t> offset, int bins, int lanes,
                                 const LaneFftKernels<Real>& kernels)
    : leaf_(static_cast<int>(window.size())), bins_(bins), lanes_(lanes), kernels_(&kernels) {
  const auto n = static_cast<int>(window.size());
  assert(serves(n) && offset.size() == window.size() && bins >= 1 && bins <= n / 2 + 1);
  assert((lanes == 8 || lanes == kFftLanes) && kernels.width <= lanes);
  for (; leaf_ > 16; leaf_ /= 8) ++passes_;
  std::vector<int> order;
  append_leaves(0, 1, n, leaf_, order);
  for (const int t : order) {
    offset_.push_back(offset[static_cast<size_t>(t)]);
    window_.push_back(static_cast<Real>(window[static_cast<size_t>(t)]));
  }
  twiddle_ = twiddles<Real>(leaf_, n);
  size_t vectors = 0;
  for (int length = 8 * leaf_; length <= n; length *= 8) vectors += static_cast<size_t>(length);
  work_.resize(vectors * static_cast<size_t>(kernels.width) * sizeof(Real) / sizeof(Line));
}

template <typename Real>
void BasicLaneFft<Real>::magnitudes(const float* samples, int count, Real epsilon, float* out) {
  assert(count <= lanes_);
  for (int lane = 0; lane < count; lane += kernels_->width) {
    kernels_->magnitudes(plan(), samples + lane, epsilon, work_.data()->values, out + lane);
  }
}

template <typename Real>
void BasicLaneFft<Real>::spectrum(const float* samples, int count, Real* out) {
  assert(count <= lanes_);
  for (int lane = 0; lane < count; lane += kernels_->width) {
    kernels_->spectrum(plan(), samples + lane, work_.data()->values, out + lane);
  }
}

template std::span<const LaneFftKernels<double>* const> runnable_lane_fft_kernels();
template std::span<const LaneFftKernels<float>* const> runnable_lane_fft_kernels();
template const LaneFftKernels<double>& fastest_lane_fft_kernels(int);
template const LaneFftKernels<float>& fastest_lane_fft_kernels(int);
template class BasicLaneFft<double>;
template class BasicLaneFft<float>;

}  // namespace melflow::audio
