#pragma once

#include <complex>
#include <cstddef>

namespace melflow::engine {

// What a block voice does to each number by itself, for whole vectors at once.

/// out[i] = scale·y/√(1 + y²/limit²) with y = x[i]/unit: bounded by scale·limit. `out` may be x.
void saturate(const float* x, float unit, float limit, float scale, float* out, size_t count);

// Functions are to the last three digits of single precision: relative errors of 3e-7 and, of bounded_exponentials,
// whose tanh is so exact as a number near 1 is, 1e-6. NaN stays NaN.

/// x[i] = exp(x[i] - most), of numbers that are at most `most`; nothing is below e^-87.
void exponentials(float most, float* x, size_t count);

/// x[i] = exp(limit·tanh(x[i]/limit)).
void bounded_exponentials(float limit, float* x, size_t count);

/// out[k] = scale·exp(-(re[k] + i·im[k])), for |im| below 1e4.
void falling_exponentials(const float* re, const float* im, float scale, std::complex<float>* out, size_t count);

/// out[k] = |z[k]|².
void squares(const std::complex<float>* z, float* out, size_t count);

/// Σ |z[k]|².
float energy(const std::complex<float>* z, size_t count);

/// max |z[k]|²/unit[k], which are positive.
float largest_square_over(const float* unit, const std::complex<float>* z, size_t count);

/// x[i] = SiLU(x[i]).
void silu(float* x, size_t count);

/// h[i] = SiLU(h[i]·(1 + film[i]) + film[count + i]), which is v·sigmoid(v).
void modulate(const float* film, float* h, size_t count);

/// h[i] += gates[i]·sigmoid(gates[count + i]).
void add_gated(const float* gates, float* h, size_t count);

}  // namespace melflow::engine
