#include "engine/kernels/convolve.h"

#include <algorithm>
#include <cmath>

#include "audio/lane_fft.h"
#include "cpu/clones.h"

namespace melflow::engine {
namespace {

constexpr size_t kLanes = audio::kFftLanes;

// Lanes that are worked on together. Spelled out, because GCC 12 otherwise prefers to shuffle what lies in time.
constexpr size_t kPart = 8;
typedef float Part __attribute__((vector_size(4 * kPart), aligned(4), may_alias));
[[gnu::always_inline]] inline Part& part_at(float* p) { return *reinterpret_cast<Part*>(p); }
[[gnu::always_inline]] inline const Part& part_at(const float* p) { return *reinterpret_cast<const Part*>(p); }

/// out[t] += Σ_k factors[k]·signal[t + kStep·k] for 0 ≤ k < n, in order, and 0 ≤ t < count. As many sums as registers
/// hold, and as keep the multipliers busy, go through all k before they are stored.
template <int kStep>
[[gnu::always_inline]] inline void add_products(const float* __restrict factors, size_t n,
                                                const float* __restrict signal, float* __restrict out, size_t count) {
  constexpr size_t kParts = 8, kTile = kParts * kPart;
  size_t t = 0;
  for (; t + kTile <= count; t += kTile) {
    Part sums[kParts];
    for (size_t p = 0; p < kParts; ++p) sums[p] = part_at(out + t + p * kPart);
    const float* from = signal + t;
    for (size_t k = 0; k < n; ++k, from += kStep) {
      for (size_t p = 0; p < kParts; ++p) sums[p] += factors[k] * part_at(from + p * kPart);
    }
    for (size_t p = 0; p < kParts; ++p) part_at(out + t + p * kPart) = sums[p];
  }
  for (; t < count; ++t) {
    for (size_t k = 0; k < n; ++k)
      out[t] += factors[k] * signal[static_cast<ptrdiff_t>(t) + kStep * static_cast<ptrdiff_t>(k)];
  }
}

}  // namespace

MELFLOW_CPU_CLONES
void convolve_into(const float* __restrict taps, size_t first_tap, size_t last_tap, const float* __restrict signal,
                   float* __restrict out, size_t count) {
  add_products<-1>(taps + first_tap, last_tap - first_tap, signal - first_tap, out, count);
}

MELFLOW_CPU_CLONES
void unfilter(const float* __restrict taps, size_t n_taps, const float* __restrict past, float gain, float limit,
              float* __restrict e, float* __restrict x, size_t count) {
  const Part most = Part{} + limit;
  for (size_t part = 0; part < kLanes; part += kPart) {
    for (size_t t = 0; t < count; ++t) part_at(x + t * kLanes + part) = gain * part_at(e + t * kLanes + part) - past[t];
    for (size_t t = 0; t < count; ++t) {
      float* now = x + t * kLanes + part;
      const Part loud = part_at(now), low = loud < -most ? -most : loud, seen = most < low ? most : low;
      part_at(e + t * kLanes + part) -= (loud - seen) / gain;
      part_at(now) = seen;
      const size_t end = std::min(count - t, n_taps);
      for (size_t k = 1; k < end; ++k) part_at(now + k * kLanes) -= taps[k] * seen;
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
void impose_magnitude(const float* __restrict magnitude, float floor, float scale,
                      std::complex<float>* __restrict spectrum, size_t count) {
  auto* part = reinterpret_cast<float*>(spectrum);
  for (size_t k = 0; k < count; ++k) {
    const float re = part[2 * k], im = part[2 * k + 1];
    const float factor = scale * magnitude[k] / (std::sqrt(re * re + im * im) + floor);
    part[2 * k] = re * factor;
    part[2 * k + 1] = im * factor;
  }
}

MELFLOW_CPU_CLONES
void correlate(const float* __restrict now, const float* __restrict then, size_t length, size_t lags,
               float* __restrict out) {
  std::fill(out, out + lags, 0.0f);
  add_products<1>(now, length, then - (lags - 1), out, lags);
}

}  // namespace melflow::engine
