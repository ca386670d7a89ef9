#include "engine/kernels/convolve.h"

#include <algorithm>
#include <cmath>

#include "audio/lane_fft.h"
#include "cpu/clones.h"

namespace melflow::engine {
namespace {

constexpr size_t kLanes = audio::kFftLanes;

}  // namespace

MELFLOW_CPU_CLONES
void convolve_into(const float* __restrict taps, size_t first_tap, size_t last_tap, const float* __restrict signal,
                   float* __restrict out, size_t count) {
  for (size_t k = first_tap; k < last_tap; ++k) {
    const float a = taps[k];
    const float* shifted = signal - k;
    for (size_t t = 0; t < count; ++t) out[t] += a * shifted[t];
  }
}

MELFLOW_CPU_CLONES
void unfilter(const float* __restrict taps, size_t n_taps, const float* __restrict past, float gain, float limit,
              float* __restrict e, float* __restrict x, size_t count) {
  for (size_t t = 0; t < count; ++t) {
    for (size_t lane = 0; lane < kLanes; ++lane) x[t * kLanes + lane] = gain * e[t * kLanes + lane] - past[t];
  }
  for (size_t t = 0; t < count; ++t) {
    float seen[kLanes];
    float* now = x + t * kLanes;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      seen[lane] = std::min(std::max(now[lane], -limit), limit);
      e[t * kLanes + lane] -= (now[lane] - seen[lane]) / gain;
      now[lane] = seen[lane];
    }
    const size_t end = std::min(count - t, n_taps);
    for (size_t k = 1; k < end; ++k) {
      for (size_t lane = 0; lane < kLanes; ++lane) now[k * kLanes + lane] -= taps[k] * seen[lane];
    }
  }
}

MELFLOW_CPU_CLONES
void magnitude_distances(const float* __restrict spectra, const float* __restrict magnitude, size_t count,
                         double* __restrict sums) {
  for (size_t k = 0; k < count; ++k, spectra += kLanes) {
    const double target = magnitude[k];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const double d = spectra[lane] - target;
      sums[lane] += d * d;
    }
  }
}

MELFLOW_CPU_CLONES
void impose_magnitude(const float* __restrict magnitude, double floor, double scale,
                      std::complex<double>* __restrict spectrum, size_t count) {
  auto* part = reinterpret_cast<double*>(spectrum);
  for (size_t k = 0; k < count; ++k) {
    const double re = part[2 * k], im = part[2 * k + 1];
    const double factor = scale * magnitude[k] / (std::sqrt(re * re + im * im) + floor);
    part[2 * k] = re * factor;
    part[2 * k + 1] = im * factor;
  }
}

MELFLOW_CPU_CLONES
void correlate(const float* __restrict now, const float* __restrict then, size_t length, size_t lags,
               float* __restrict out) {
  std::fill(out, out + lags, 0.0f);
  const float* start = then - (lags - 1);
  for (size_t j = 0; j < length; ++j) {
    const float v = now[j];
    for (size_t i = 0; i < lags; ++i) out[i] += v * start[j + i];
  }
}

}  // namespace melflow::engine
