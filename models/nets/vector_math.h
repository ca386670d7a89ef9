#pragma once

#include <cstdint>

namespace melflow::models {

// Plain arrays of n numbers, which may be the same one; no LibTorch. NaN stays NaN.

/// y = exp x; in float to three units in the last place, 0 below -87, no infinity below 88.
void exp_array(const float* x, float* y, int64_t n);
void exp_array(const double* x, double* y, int64_t n);

/// y = limit · tanh(x / limit); in float to limit · 3·10⁻⁷.
void bounded_array(const float* x, float* y, double limit, int64_t n);
void bounded_array(const double* x, double* y, double limit, int64_t n);

}  // namespace melflow::models
