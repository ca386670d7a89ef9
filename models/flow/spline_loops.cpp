#include "models/flow/spline_loops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/clones.h"
#include "cpu/fast_exp.h"
#include "cpu/fast_log.h"

namespace melflow::models {
namespace {

/// Numbers worked on together: each step is a loop over them, which the compiler makes vectors of.
constexpr int kLanes = 32;
#define MELFLOW_LANES for (int i = 0; i < kLanes; ++i)
#define MELFLOW_INLINE [[gnu::always_inline]] inline

MELFLOW_INLINE float exp_of(float x) { return cpu::fast_exp(cpu::clamped(x, 87.0f)); }
MELFLOW_INLINE double exp_of(double x) { return std::exp(x); }
MELFLOW_INLINE float log_of(float x) { return x == x ? cpu::fast_log(x) : x; }
MELFLOW_INLINE double log_of(double x) { return std::log(x); }

template <typename T>
MELFLOW_INLINE T between(T x, T low, T high) {  // NaN stays
  return x < low ? low : x > high ? high : x;
}

/// What a network said of kLanes numbers: [outputs][kLanes]. Lanes beyond `items` are zeros.
template <typename T>
MELFLOW_INLINE void load(const T* from, int64_t stride, int64_t rows, int64_t items, T* to) {
  for (int64_t k = 0; k < rows; ++k) {
    if (items == kLanes) {
      MELFLOW_LANES to[k * kLanes + i] = from[k * stride + i];
    } else {
      std::copy_n(from + k * stride, items, to + k * kLanes);
      std::fill_n(to + k * kLanes + items, kLanes - items, T{0});
    }
  }
}

/// [bins][kLanes] → each lane's softmax, in place.
template <typename T>
MELFLOW_INLINE void softmax(T* raw, int64_t bins) {
  T most[kLanes], sum[kLanes] = {};
  MELFLOW_LANES most[i] = raw[i];
  for (int64_t k = 1; k < bins; ++k) {
    MELFLOW_LANES most[i] = raw[k * kLanes + i] > most[i] ? raw[k * kLanes + i] : most[i];
  }
  for (int64_t k = 0; k < bins; ++k) {
    T* row = raw + k * kLanes;
    MELFLOW_LANES row[i] = exp_of(row[i] - most[i]);
    MELFLOW_LANES sum[i] += row[i];
  }
  MELFLOW_LANES sum[i] = 1 / sum[i];
  for (int64_t k = 0; k < bins; ++k) {
    T* row = raw + k * kLanes;
    MELFLOW_LANES row[i] *= sum[i];
  }
}

/// The bin of each lane: where it begins, its width and height, its index; and what the network said of the slopes at
/// its ends (0, of which the slope is 1, at the ends of all).
template <typename T>
struct Bins {
  T x[kLanes], y[kLanes], w[kLanes], h[kLanes], index[kLanes], raw0[kLanes], raw1[kLanes];

  /// said: [outputs][kLanes], widths and heights as softmax left them.
  MELFLOW_INLINE void find(SplineSize size, bool inverse, const T* value, const T* said) {
    const int64_t bins = size.bins;
    const T bound = static_cast<T>(size.bound), least = 2 * bound * static_cast<T>(kLeastShare);
    const T share = 2 * bound * static_cast<T>(1 - static_cast<double>(bins) * kLeastShare);
    const T *widths = said, *heights = said + bins * kLanes, *slopes = heights + bins * kLanes;
    static constexpr T kNone[kLanes] = {};
    T left[kLanes], low[kLanes];
    MELFLOW_LANES left[i] = low[i] = -bound;
    for (int64_t k = 0; k < bins; ++k) {
      const bool first = k == 0, last = k == bins - 1;
      const T *p = widths + k * kLanes, *q = heights + k * kLanes, *edge = inverse ? low : left;
      const T *before = first ? kNone : slopes + (k - 1) * kLanes, *behind = last ? kNone : slopes + k * kLanes;
      MELFLOW_LANES {
        const T width = last ? bound - left[i] : least + share * p[i];
        const T height = last ? bound - low[i] : least + share * q[i];
        const bool here = first || value[i] >= edge[i];
        x[i] = here ? left[i] : x[i];
        y[i] = here ? low[i] : y[i];
        w[i] = here ? width : w[i];
        h[i] = here ? height : h[i];
        index[i] = here ? static_cast<T>(k) : index[i];
        raw0[i] = here ? before[i] : raw0[i];
        raw1[i] = here ? behind[i] : raw1[i];
        left[i] += width;
        low[i] += height;
      }
    }
  }
};

template <typename T>
MELFLOW_INLINE T slope_of(T raw) {
  const T shifted = raw + static_cast<T>(kSlopeShift), size = shifted < 0 ? -shifted : shifted;
  return (shifted > 0 ? shifted : T{0}) + log_of(1 + exp_of(-size)) + static_cast<T>(kLeastSlope);
}

/// A bin's map at ξ, 0 ≤ ξ ≤ 1, from its lower left corner on (Durkan et al. 2019, eq. 4 and 5): height·N/Q, of slope
/// s²·M/Q².
template <typename T>
struct Piece {
  T xi, s, d0, d1, q, bend, n, m, denominator;

  MELFLOW_INLINE Piece(T at, T width, T height, T slope0, T slope1)
      : xi(at),
        s(height / width),
        d0(slope0),
        d1(slope1),
        q(xi * (1 - xi)),
        bend(d0 + d1 - 2 * s),
        n(s * xi * xi + d0 * q),
        m(d1 * xi * xi + 2 * s * q + d0 * (1 - xi) * (1 - xi)),
        denominator(s + bend * q) {}
  MELFLOW_INLINE T slope() const { return (s / denominator) * (s / denominator) * m; }
  /// d ln slope / dξ.
  MELFLOW_INLINE T curve() const {
    const T dq = 1 - 2 * xi, dm = 2 * (d1 * xi + s * dq - d0 * (1 - xi));
    return dm / m - 2 * bend * dq / denominator;
  }
};

/// Where in its bin a number above the bin's lower edge comes from (eq. 6 to 8), by the root that loses no digits.
template <typename T>
MELFLOW_INLINE T root(T above, T width, T height, T d0, T d1) {
  const T s = height / width, bend = d0 + d1 - 2 * s;
  const T a = height * (s - d0) + above * bend, b = height * d0 - above * bend, c = -s * above;
  const T square = b * b - 4 * a * c;
  return 2 * c / (-b - std::sqrt(square < 0 ? T{0} : square));
}

/// Where in its bin each lane is, and the slopes at the bin's ends.
template <typename T>
MELFLOW_INLINE void place(const Bins<T>& bin, bool inverse, const T* value, T* xi, T* slope0, T* slope1) {
  MELFLOW_LANES slope0[i] = slope_of(bin.raw0[i]);
  MELFLOW_LANES slope1[i] = slope_of(bin.raw1[i]);
  if (inverse) {
    MELFLOW_LANES xi[i] = root(between(value[i] - bin.y[i], T{0}, bin.h[i]), bin.w[i], bin.h[i], slope0[i], slope1[i]);
  } else {
    MELFLOW_LANES xi[i] = (value[i] - bin.x[i]) / bin.w[i];
  }
  MELFLOW_LANES xi[i] = between(xi[i], T{0}, T{1});
}

template <typename T>
MELFLOW_INLINE bool inside(T value, T bound) {
  return value >= -bound && value <= bound;
}

template <typename T>
MELFLOW_INLINE void move(SplineSize size, bool inverse, const T* value, const T* raw, int64_t stride, T* moved,
                         T* log_slope, int64_t n) {
  const auto bound = static_cast<T>(size.bound);
  std::vector<T> said(static_cast<size_t>((3 * size.bins - 1) * kLanes));
  T v[kLanes], xi[kLanes], slope0[kLanes], slope1[kLanes], to[kLanes], log_s[kLanes];
  for (int64_t first = 0; first < n; first += kLanes) {
    const int64_t items = std::min<int64_t>(kLanes, n - first);
    load(value + first, n, 1, items, v);
    load(raw + first, stride, 3 * size.bins - 1, items, said.data());
    softmax(said.data(), size.bins);
    softmax(said.data() + size.bins * kLanes, size.bins);
    Bins<T> bin;
    bin.find(size, inverse, v, said.data());
    place(bin, inverse, v, xi, slope0, slope1);
    MELFLOW_LANES {
      const Piece<T> piece(xi[i], bin.w[i], bin.h[i], slope0[i], slope1[i]);
      const T there = inverse ? bin.x[i] + xi[i] * bin.w[i] : bin.y[i] + bin.h[i] * piece.n / piece.denominator;
      const T log = log_of(piece.slope());
      to[i] = inside(v[i], bound) ? there : v[i];
      log_s[i] = inside(v[i], bound) ? (inverse ? -log : log) : T{0};
    }
    std::copy_n(to, items, moved + first);
    std::copy_n(log_s, items, log_slope + first);
  }
}

/// Gradients of what makes a bin's map.
template <typename T>
struct BinGradients {
  T x[kLanes], y[kLanes], w[kLanes], h[kLanes], raw0[kLanes], raw1[kLanes];
};

/// Of softmax's input [bins][kLanes], from those of the bin's edge, of_edge, and extent: every bin below moves the
/// edge.
template <typename T>
MELFLOW_INLINE void softmax_backward(SplineSize size, const T* p, const T* index, const T* of_edge, const T* of_extent,
                                     T* of_raw) {
  const T share = static_cast<T>(2 * size.bound * (1 - static_cast<double>(size.bins) * kLeastShare));
  T mean[kLanes] = {};
  for (int64_t k = 0; k < size.bins; ++k) {
    const auto at = static_cast<T>(k);
    T* of = of_raw + k * kLanes;
    MELFLOW_LANES of[i] = share * (at < index[i] ? of_edge[i] : at == index[i] ? of_extent[i] : T{0});
    MELFLOW_LANES mean[i] += of[i] * p[k * kLanes + i];
  }
  for (int64_t k = 0; k < size.bins; ++k) {
    T* of = of_raw + k * kLanes;
    MELFLOW_LANES of[i] = p[k * kLanes + i] * (of[i] - mean[i]);
  }
}

/// Back through one piece: from the gradients of what it gives and of the logarithm of its slope.
template <typename T>
MELFLOW_INLINE void piece_backward(const Piece<T>& p, T of_there, T of_log, T width, T height, T raw0, T raw1, int i,
                                   BinGradients<T>& to) {
  const T of_n = of_there * height / p.denominator, of_m = of_log / p.m;
  const T of_denominator = -(of_n * p.n + 2 * of_log) / p.denominator;
  const T dq = 1 - 2 * p.xi, left = 1 - p.xi;
  const T of_s = of_n * p.xi * p.xi + of_denominator * (1 - 2 * p.q) + of_m * 2 * p.q + 2 * of_log / p.s;
  const T of_d0 = of_n * p.q + of_denominator * p.q + of_m * left * left;
  const T of_d1 = of_denominator * p.q + of_m * p.xi * p.xi;
  const T of_xi = of_n * (2 * p.s * p.xi + p.d0 * dq) + of_denominator * p.bend * dq +
                  of_m * 2 * (p.d1 * p.xi + p.s * dq - p.d0 * left);
  to.x[i] = -of_xi / width;
  to.y[i] = of_there;
  to.w[i] = -(of_s * p.s + of_xi * p.xi) / width;
  to.h[i] = of_s / width + of_there * p.n / p.denominator;
  to.raw0[i] = of_d0 / (1 + exp_of(-raw0 - static_cast<T>(kSlopeShift)));
  to.raw1[i] = of_d1 / (1 + exp_of(-raw1 - static_cast<T>(kSlopeShift)));
}

template <typename T>
MELFLOW_INLINE void backward(SplineSize size, bool inverse, const T* value, const T* raw, int64_t stride,
                             const T* of_moved, const T* of_log_slope, T* of_value, T* of_raw, int64_t n) {
  const auto bound = static_cast<T>(size.bound);
  const int64_t rows = 3 * size.bins - 1, slopes = 2 * size.bins;
  std::vector<T> said(static_cast<size_t>(rows * kLanes)), of_said(static_cast<size_t>(rows * kLanes));
  T v[kLanes], of_to[kLanes], of_log[kLanes], of_v[kLanes], xi[kLanes], slope0[kLanes], slope1[kLanes];
  for (int64_t first = 0; first < n; first += kLanes) {
    const int64_t items = std::min<int64_t>(kLanes, n - first);
    load(value + first, n, 1, items, v);
    load(of_moved + first, n, 1, items, of_to);
    load(of_log_slope + first, n, 1, items, of_log);
    load(raw + first, stride, rows, items, said.data());
    softmax(said.data(), size.bins);
    softmax(said.data() + size.bins * kLanes, size.bins);
    Bins<T> bin;
    bin.find(size, inverse, v, said.data());
    place(bin, inverse, v, xi, slope0, slope1);
    BinGradients<T> of;
    MELFLOW_LANES {
      const Piece<T> piece(xi[i], bin.w[i], bin.h[i], slope0[i], slope1[i]);
      // The inverse's gradients are the map's, taken there: dx = (dz - dθ·∂z/∂θ)/slope, and it says -ln slope.
      const T by_x = inverse ? of_to[i] - of_log[i] * piece.curve() / bin.w[i] : T{0};
      const T through = inverse ? -by_x / piece.slope() : of_to[i];
      const bool in = inside(v[i], bound);
      piece_backward(piece, in ? through : T{0}, in ? (inverse ? -of_log[i] : of_log[i]) : T{0}, bin.w[i], bin.h[i],
                     bin.raw0[i], bin.raw1[i], i, of);
      of_v[i] = !in ? of_to[i] : inverse ? -through : -of.x[i];
    }
    softmax_backward(size, said.data(), bin.index, of.x, of.w, of_said.data());
    softmax_backward(size, said.data() + size.bins * kLanes, bin.index, of.y, of.h,
                     of_said.data() + size.bins * kLanes);
    for (int64_t k = 0; k + 1 < size.bins; ++k) {  // the knot between bins k and k + 1
      const auto below = static_cast<T>(k), above = static_cast<T>(k + 1);
      T* to = of_said.data() + (slopes + k) * kLanes;
      MELFLOW_LANES to[i] = bin.index[i] == below ? of.raw1[i] : bin.index[i] == above ? of.raw0[i] : T{0};
    }
    for (int64_t k = 0; k < rows; ++k) std::copy_n(of_said.data() + k * kLanes, items, of_raw + k * stride + first);
    std::copy_n(of_v, items, of_value + first);
  }
}

}  // namespace

// The compiler makes a version for each generation of x86; the loader takes the best.

MELFLOW_CPU_CLONES void spline_move(SplineSize size, bool inverse, const float* value, const float* raw, int64_t stride,
                                    float* moved, float* log_slope, int64_t n) {
  inverse ? move(size, true, value, raw, stride, moved, log_slope, n)
          : move(size, false, value, raw, stride, moved, log_slope, n);
}
MELFLOW_CPU_CLONES void spline_move(SplineSize size, bool inverse, const double* value, const double* raw,
                                    int64_t stride, double* moved, double* log_slope, int64_t n) {
  inverse ? move(size, true, value, raw, stride, moved, log_slope, n)
          : move(size, false, value, raw, stride, moved, log_slope, n);
}

MELFLOW_CPU_CLONES void spline_backward(SplineSize size, bool inverse, const float* value, const float* raw,
                                        int64_t stride, const float* of_moved, const float* of_log_slope,
                                        float* of_value, float* of_raw, int64_t n) {
  inverse ? backward(size, true, value, raw, stride, of_moved, of_log_slope, of_value, of_raw, n)
          : backward(size, false, value, raw, stride, of_moved, of_log_slope, of_value, of_raw, n);
}
MELFLOW_CPU_CLONES void spline_backward(SplineSize size, bool inverse, const double* value, const double* raw,
                                        int64_t stride, const double* of_moved, const double* of_log_slope,
                                        double* of_value, double* of_raw, int64_t n) {
  inverse ? backward(size, true, value, raw, stride, of_moved, of_log_slope, of_value, of_raw, n)
          : backward(size, false, value, raw, stride, of_moved, of_log_slope, of_value, of_raw, n);
}

}  // namespace melflow::models
