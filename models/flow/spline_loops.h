#pragma once

#include <cstdint>

namespace melflow::models {

// The rational-quadratic spline of flow/spline.h on plain arrays; no LibTorch, one thread.

/// A bin's least share of the width or height of all, and a knot's least slope: as Durkan et al. 2019.
inline constexpr double kLeastShare = 1e-3, kLeastSlope = 1e-3;
/// softplus(kSlopeShift) + kLeastSlope = 1: a network that answers zeros makes the identity.
inline constexpr double kSlopeShift = 0.5397424172369522;

struct SplineSize {
  int64_t bins;
  double bound;
};

/// n numbers; number k of raw of number i is raw[k·stride + i]. value → moved and the logarithm of the slope there; of
/// the inverse, that of its own slope. value and moved may be the same.
void spline_move(SplineSize size, bool inverse, const float* value, const float* raw, int64_t stride, float* moved,
                 float* log_slope, int64_t n);
void spline_move(SplineSize size, bool inverse, const double* value, const double* raw, int64_t stride, double* moved,
                 double* log_slope, int64_t n);

/// Gradients of spline_move by what went in, from those of what came out; of_raw has raw's layout. of_value and
/// of_moved may be the same.
void spline_backward(SplineSize size, bool inverse, const float* value, const float* raw, int64_t stride,
                     const float* of_moved, const float* of_log_slope, float* of_value, float* of_raw, int64_t n);
void spline_backward(SplineSize size, bool inverse, const double* value, const double* raw, int64_t stride,
                     const double* of_moved, const double* of_log_slope, double* of_value, double* of_raw, int64_t n);

}  // namespace melflow::models
