#pragma once

#include <cstddef>

namespace melflow::engine {

/// out[t] += Σ_k taps[k]·signal[t - k] for first_tap ≤ k < last_tap, 0 ≤ t < count. `signal` points at t = 0 and has
/// last_tap - 1 samples before it. Each sum runs over k in order.
void convolve_into(const float* taps, size_t first_tap, size_t last_tap, const float* signal, float* out, size_t count);

/// x[t] -= Σ_{1≤k≤t, k<n_taps} taps[k]·v[t - k] for t from 0 on, where v is x within ±limit: undoes a convolution by
/// taps with taps[0] = 1. Each sum runs over falling k.
void unconvolve(const float* taps, size_t n_taps, float limit, float* x, size_t count);

/// sums[lane] += Σ_k (spectra[k, lane] - magnitude[k])² for audio::LaneFft's magnitudes [count, kLanes].
void magnitude_distances(const float* spectra, const float* magnitude, size_t count, double* sums);

/// out[lags - 1 - l] = Σ_{j<length} now[j]·then[j - l] for 0 ≤ l < lags: the lags come out in reverse, which is how
/// they lie in memory. `then` has lags - 1 samples before it.
void correlate(const float* now, const float* then, size_t length, size_t lags, float* out);

}  // namespace melflow::engine
