#pragma once

#include <complex>
#include <cstddef>

namespace melflow::engine {

/// out[t] += Σ_k taps[k]·signal[t - k] for first_tap ≤ k < last_tap, 0 ≤ t < count. `signal` points at t = 0 and has
/// last_tap - 1 samples before it. Each sum runs over k in order.
void convolve_into(const float* taps, size_t first_tap, size_t last_tap, const float* signal, float* out, size_t count);

/// A recursive filter over blocks side by side, e and x [count, audio::kFftLanes], each lane by itself:
/// x[t] = gain·e[t] - past[t] - Σ_{1≤k≤t, k<n_taps} taps[k]·v[t - k], where v is x within ±limit; then x = v, and e
/// becomes what would have given it: so much less as x was beyond the limit. Each sum runs over falling k.
void unfilter(const float* taps, size_t n_taps, const float* past, float gain, float limit, float* e, float* x,
              size_t count);

/// sums[lane] += Σ_k (spectra[k, lane] - magnitude[k])² for audio::FloatLaneFft's magnitudes [count, audio::kFftLanes].
void magnitude_distances(const float* spectra, const float* magnitude, size_t count, double* sums);

/// spectrum[k] *= scale·magnitude[k] / (|spectrum[k]| + floor): other magnitudes, the same phases.
void impose_magnitude(const float* magnitude, float floor, float scale, std::complex<float>* spectrum, size_t count);

/// out[lags - 1 - l] = Σ_{j<length} now[j]·then[j - l] for 0 ≤ l < lags: the lags come out in reverse, which is how
/// they lie in memory. `then` has lags - 1 samples before it.
void correlate(const float* now, const float* then, size_t length, size_t lags, float* out);

}  // namespace melflow::engine
