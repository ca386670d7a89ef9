// The loops of LaneFft, written once for any number of lanes. Included by one source file for each instruction set, and
// by nothing else: everything is in an unnamed namespace and calls no library function, so that no code compiled for a
// newer CPU can be linked into an older one's path.
#pragma once

#include <type_traits>
#include <utility>

#include "audio/lane_fft.h"

namespace melflow::audio {
namespace {

// What is below is to be one function, whose values stay in registers.
#define MELFLOW_INLINE [[gnu::always_inline]] inline

/// Vectors as GCC and Clang know them.
template <typename Real, int kWidth>
struct Lanes {
  typedef Real Values __attribute__((vector_size(sizeof(Real) * kWidth)));
  typedef float Floats __attribute__((vector_size(sizeof(float) * kWidth)));
  typedef Real Stored __attribute__((vector_size(sizeof(Real) * kWidth), may_alias));
  typedef Real UnalignedValues __attribute__((vector_size(sizeof(Real) * kWidth), aligned(sizeof(Real)), may_alias));
  typedef float UnalignedFloats __attribute__((vector_size(sizeof(float) * kWidth), aligned(4), may_alias));
};

/// As a list of lanes, because GCC 12 makes one instruction of it, and three of a converted vector.
template <typename Real, int kWidth, int... kLane>
MELFLOW_INLINE typename Lanes<Real, kWidth>::Values load(const float* p, std::integer_sequence<int, kLane...>) {
  return typename Lanes<Real, kWidth>::Values{p[kLane]...};
}

/// The type of a vector's lanes, and what is known of the unit circle in it.
template <typename D>
using LaneOf = std::remove_cvref_t<decltype(D{}[0])>;
template <typename Real>
constexpr Real kRootHalf = static_cast<Real>(0.70710678118654752440);
template <typename Real>
constexpr Real kCosPi8 = static_cast<Real>(0.92387953251128675613);
template <typename Real>
constexpr Real kSinPi8 = static_cast<Real>(0.38268343236508977173);

template <typename D>
struct Complex {
  D re, im;
};
template <typename D>
MELFLOW_INLINE Complex<D> operator+(Complex<D> a, Complex<D> b) {
  return {a.re + b.re, a.im + b.im};
}
template <typename D>
MELFLOW_INLINE Complex<D> operator-(Complex<D> a, Complex<D> b) {
  return {a.re - b.re, a.im - b.im};
}
/// a·w for one w in all lanes.
template <typename D>
MELFLOW_INLINE Complex<D> times(Complex<D> a, LaneOf<D> re, LaneOf<D> im) {
  return {a.re * re - a.im * im, a.re * im + a.im * re};
}
template <typename D>
MELFLOW_INLINE Complex<D> times_minus_i(Complex<D> a) {
  return {a.im, -a.re};
}

/// The bins 1, 3, … below kHalf of a real transform of 2·kHalf samples, where d[t] = x[t] - x[t + kHalf]:
/// X[2q + 1] = Σ_t d[t]·exp(-2πi·t·(2q + 1)/(2·kHalf)).
template <int kHalf, typename D>
MELFLOW_INLINE void odd_bins(const D (&d)[kHalf], Complex<D> (&out)[kHalf / 2]) {
  if constexpr (kHalf == 2) {
    out[0] = {d[0], -d[1]};
  } else if constexpr (kHalf == 4) {
    const D re = (d[1] - d[3]) * kRootHalf<LaneOf<D>>, im = (d[1] + d[3]) * kRootHalf<LaneOf<D>>;
    out[0] = {d[0] + re, -d[2] - im};
    out[1] = {d[0] - re, d[2] - im};
  } else {
    static_assert(kHalf == 8);
    // A complex transform of four, of which the last two bins are mirror images of bins below kHalf.
    const Complex<D> y0{d[0], -d[4]}, y1 = times(Complex<D>{d[1], -d[5]}, kCosPi8<LaneOf<D>>, -kSinPi8<LaneOf<D>>),
                                      y3 = times(Complex<D>{d[3], -d[7]}, kSinPi8<LaneOf<D>>, -kCosPi8<LaneOf<D>>),
                                      y2{(d[2] - d[6]) * kRootHalf<LaneOf<D>>, (d[2] + d[6]) * -kRootHalf<LaneOf<D>>};
    const Complex<D> a = y0 + y2, b = y0 - y2, c = y1 + y3, e = times_minus_i(y1 - y3);
    out[0] = a + c;
    out[1] = {b.re - e.re, e.im - b.im};
    out[2] = b + e;
    out[3] = {a.re - c.re, c.im - a.im};
  }
}

/// Transform of 2·kHalf real samples, of which x[t] ± x[t + kHalf] are given: bins 0 and kHalf, which are real, then
/// the complex bins between.
template <int kHalf, typename D>
MELFLOW_INLINE void real_transform(const D (&sum)[kHalf], const D (&difference)[kHalf], D (&out)[2 * kHalf]) {
  if constexpr (kHalf == 1) {
    out[0] = sum[0];
    out[1] = difference[0];
  } else {
    constexpr int kQuarter = kHalf / 2;
    D even_sum[kQuarter], even_difference[kQuarter], even[kHalf];
    for (int t = 0; t < kQuarter; ++t) {
      even_sum[t] = sum[t] + sum[t + kQuarter];
      even_difference[t] = sum[t] - sum[t + kQuarter];
    }
    real_transform(even_sum, even_difference, even);
    Complex<D> odd[kQuarter];
    odd_bins(difference, odd);
    out[0] = even[0];
    out[1] = even[1];
    for (int k = 1; k < kQuarter; ++k) {
      out[4 * k] = even[2 * k];
      out[4 * k + 1] = even[2 * k + 1];
    }
    for (int q = 0; q < kQuarter; ++q) {
      out[4 * q + 2] = odd[q].re;
      out[4 * q + 3] = odd[q].im;
    }
  }
}

/// Takes the bins of a pass, to be the input of the next: as real_transform leaves them.
template <typename Real, int kWidth>
struct NextPass {
  using D = typename Lanes<Real, kWidth>::Values;
  typename Lanes<Real, kWidth>::Stored* out;

  MELFLOW_INLINE void operator()(int bin, Complex<D> value) const {
    out[2 * bin] = value.re;
    out[2 * bin + 1] = value.im;
  }
  MELFLOW_INLINE void ends(D first, D last, int) const {
    out[0] = first;
    out[1] = last;
  }
};

/// Takes the bins of the last pass and writes their magnitudes.
template <typename Real, int kWidth>
struct Magnitudes {
  using D = typename Lanes<Real, kWidth>::Values;
  using Floats = typename Lanes<Real, kWidth>::Floats;
  float* out;
  int bins, lanes;
  Real epsilon;

  MELFLOW_INLINE void operator()(int bin, Complex<D> value) const {
    if (bin >= bins) return;
    Floats power = __builtin_convertvector(value.re * value.re + value.im * value.im + epsilon, Floats);
    for (int lane = 0; lane < kWidth; ++lane) power[lane] = __builtin_sqrtf(power[lane]);
    *reinterpret_cast<typename Lanes<Real, kWidth>::UnalignedFloats*>(out + static_cast<long>(bin) * lanes) = power;
  }
  MELFLOW_INLINE void ends(D first, D last, int last_bin) const {
    (*this)(0, {first, D{}});
    (*this)(last_bin, {last, D{}});
  }
};

/// Takes the bins of the last pass as they are.
template <typename Real, int kWidth>
struct Spectrum {
  using D = typename Lanes<Real, kWidth>::Values;
  Real* out;
  int bins, lanes;

  MELFLOW_INLINE void operator()(int bin, Complex<D> value) const {
    if (bin >= bins) return;
    using Unaligned = typename Lanes<Real, kWidth>::UnalignedValues;
    *reinterpret_cast<Unaligned*>(out + 2L * bin * lanes) = value.re;
    *reinterpret_cast<Unaligned*>(out + (2L * bin + 1) * lanes) = value.im;
  }
  MELFLOW_INLINE void ends(D first, D last, int last_bin) const {
    (*this)(0, {first, D{}});
    (*this)(last_bin, {last, D{}});
  }
};

/// The complex transform of eight, y[j] = Σ_r a[r]·exp(-2πi·r·j/8), of whose input the sums and the differences
/// a[r] ± a[r + 4] are given. Bin j is bin k + length·j of the whole; those of its upper half are written as the bins
/// of the lower one that they mirror.
template <typename D, typename Sink>
MELFLOW_INLINE void butterfly(const Complex<D> (&b)[4], const Complex<D> (&c)[4], int k, int length, Sink sink) {
  {
    const Complex<D> p = b[0] + b[2], m = b[0] - b[2], q = b[1] + b[3], t = times_minus_i(b[1] - b[3]);
    sink(k, p + q);
    sink(k + 2 * length, m + t);
    sink(2 * length - k, Complex<D>{m.re - t.re, t.im - m.im});
    sink(4 * length - k, Complex<D>{p.re - q.re, q.im - p.im});
  }
  const Complex<D> u1{c[1].re + c[1].im, c[1].im - c[1].re}, u3{c[3].re - c[3].im, c[3].re + c[3].im};
  const Complex<D> p{c[0].re + c[2].im, c[0].im - c[2].re}, m{c[0].re - c[2].im, c[0].im + c[2].re};
  const Complex<D> q = u1 - u3, t = times_minus_i(u1 + u3);
  sink(k + length, Complex<D>{p.re + q.re * kRootHalf<LaneOf<D>>, p.im + q.im * kRootHalf<LaneOf<D>>});
  sink(k + 3 * length, Complex<D>{m.re + t.re * kRootHalf<LaneOf<D>>, m.im + t.im * kRootHalf<LaneOf<D>>});
  sink(length - k, Complex<D>{m.re - t.re * kRootHalf<LaneOf<D>>, t.im * kRootHalf<LaneOf<D>> - m.im});
  sink(3 * length - k, Complex<D>{p.re - q.re * kRootHalf<LaneOf<D>>, q.im * kRootHalf<LaneOf<D>> - p.im});
}

/// One pass: eight transforms of `length`, of every eighth sample each, become one of 8·length.
template <typename Real, int kWidth, typename Sink>
MELFLOW_INLINE void combine(const typename Lanes<Real, kWidth>::Stored* in, int length, const Real* twiddle,
                            Sink sink) {
  using D = typename Lanes<Real, kWidth>::Values;
  D first_sum[4], first_difference[4], out[8], middle[8];
  for (int r = 0; r < 4; ++r) {
    first_sum[r] = in[r * length] + in[(r + 4) * length];
    first_difference[r] = in[r * length] - in[(r + 4) * length];
  }
  real_transform(first_sum, first_difference, out);
  sink.ends(out[0], out[1], 4 * length);
  for (int j = 1; j < 4; ++j) sink(j * length, Complex<D>{out[2 * j], out[2 * j + 1]});
  for (int r = 0; r < 8; ++r) middle[r] = in[r * length + 1];
  Complex<D> odd[4];
  odd_bins(middle, odd);
  for (int j = 0; j < 4; ++j) sink(length / 2 + j * length, odd[j]);
  for (int k = 1; k < length / 2; ++k, twiddle += 14) {
    const auto input = [&](int r) {
      const Complex<D> value{in[r * length + 2 * k], in[r * length + 2 * k + 1]};
      return r == 0 ? value : times(value, twiddle[2 * r - 2], twiddle[2 * r - 1]);
    };
    // In this order few values are alive at once, and stay in registers.
    Complex<D> sum[4], difference[4];
    for (int r = 0; r < 4; ++r) {
      const Complex<D> low = input(r), high = input(r + 4);
      sum[r] = low + high;
      difference[r] = low - high;
    }
    butterfly(sum, difference, k, length, sink);
  }
}

/// One real transform of kLeaf samples.
template <typename Real, int kWidth, int kLeaf>
MELFLOW_INLINE void leaf(const float* samples, const int32_t* offset, const Real* window,
                         typename Lanes<Real, kWidth>::Stored* out) {
  using D = typename Lanes<Real, kWidth>::Values;
  const auto input = [&](int t) {
    return load<Real, kWidth>(samples + offset[t], std::make_integer_sequence<int, kWidth>()) * window[t];
  };
  constexpr int kHalf = kLeaf / 2;
  D sum[kHalf], difference[kHalf], bins[kLeaf];
  for (int t = 0; t < kHalf; ++t) {
    const D low = input(t), high = input(t + kHalf);
    sum[t] = low + high;
    difference[t] = low - high;
  }
  real_transform(sum, difference, bins);
  for (int k = 0; k < kLeaf; ++k) out[k] = bins[k];
}

/// The whole transform, depth first, so that what a pass reads is still in the cache. `work` has room for the input of
/// each pass, one after the other.
template <typename Real, int kWidth, int kLeaf, typename Sink>
[[gnu::noinline]] void transform(const LaneFftPlan<Real>& plan, const float* samples, Real* work, Sink sink) {
  using Stored = typename Lanes<Real, kWidth>::Stored;
  auto* const leaves = reinterpret_cast<Stored*>(work);
  const int last = plan.passes - 1;
  const int count = 1 << (3 * plan.passes);
  const int32_t* offset = plan.offset;
  const Real* window = plan.window;
  for (int done = 0; done < count; offset += kLeaf, window += kLeaf) {
    leaf<Real, kWidth, kLeaf>(samples, offset, window, leaves + (done & 7) * kLeaf);
    ++done;
    Stored* in = leaves;
    const Real* twiddle = plan.twiddle;
    int length = kLeaf;
    for (int pass = 0, rest = done; pass < last && (rest & 7) == 0; ++pass) {
      rest >>= 3;
      Stored* const next = in + 8 * length;
      combine<Real, kWidth>(in, length, twiddle, NextPass<Real, kWidth>{next + ((rest - 1) & 7) * 8 * length});
      twiddle += 14 * (length / 2 - 1);
      in = next;
      length *= 8;
    }
    if (done == count) combine<Real, kWidth>(in, length, twiddle, sink);
  }
}

template <typename Real, int kWidth, typename Sink>
void transform_any(const LaneFftPlan<Real>& plan, const float* samples, Real* work, Sink sink) {
  if (plan.leaf == 4) transform<Real, kWidth, 4>(plan, samples, work, sink);
  if (plan.leaf == 8) transform<Real, kWidth, 8>(plan, samples, work, sink);
  if (plan.leaf == 16) transform<Real, kWidth, 16>(plan, samples, work, sink);
}

template <typename Real, int kWidth>
void magnitudes(const LaneFftPlan<Real>& plan, const float* samples, Real epsilon, Real* work, float* out) {
  transform_any<Real, kWidth>(plan, samples, work, Magnitudes<Real, kWidth>{out, plan.bins, plan.lanes, epsilon});
}

template <typename Real, int kWidth>
void spectrum(const LaneFftPlan<Real>& plan, const float* samples, Real* work, Real* out) {
  transform_any<Real, kWidth>(plan, samples, work, Spectrum<Real, kWidth>{out, plan.bins, plan.lanes});
}

template <typename Real, int kWidth>
constexpr LaneFftKernels<Real> make_lane_fft_kernels(const char* name) {
  return {name, kWidth, magnitudes<Real, kWidth>, spectrum<Real, kWidth>};
}

#undef MELFLOW_INLINE

}  // namespace
}  // namespace melflow::audio
