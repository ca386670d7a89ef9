#include "engine/kernels/linear.h"

#include <algorithm>

#include "cpu/clones.h"
#include "cpu/levels.h"
#include "engine/files/float_formats.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace melflow::engine {
namespace {

/// Outputs computed together: as many vectors of sums as AVX2 has registers to spare, so that the sums stay in
/// registers and the weights are all that moves.
constexpr int kLanes = 8, kVectors = 8, kPanel = kLanes * kVectors;

/// sums[o] += Σ_i panel[i, o]·x[i], on any CPU. Sums run over i in order here and below.
void multiply_panel_anywhere(const float* panel, const float* x, int inputs, float* sums) {
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    for (int o = 0; o < kPanel; ++o) sums[o] += panel[o] * x[i];
  }
}

#if defined(__x86_64__)

#define MELFLOW_AVX2 __attribute__((target("arch=x86-64-v3")))
MELFLOW_AVX2 inline __m256 load(const float* weights) { return _mm256_loadu_ps(weights); }
MELFLOW_AVX2 inline __m256 load(const uint16_t* halves) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
}

template <typename Weight>
MELFLOW_AVX2 void multiply_panel_avx2(const Weight* panel, const float* x, int inputs, float* sums) {
  __m256 acc[kVectors];
  for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_loadu_ps(sums + v * kLanes);
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    const __m256 value = _mm256_set1_ps(x[i]);
    for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_fmadd_ps(load(panel + v * kLanes), value, acc[v]);
  }
  for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(sums + v * kLanes, acc[v]);
}

void multiply_panel(const float* panel, const float* x, int inputs, float* sums) {
  (cpu::has_v3() ? multiply_panel_avx2<float> : multiply_panel_anywhere)(panel, x, inputs, sums);
}
/// From a panel in half precision: exactly the numbers of a float panel, at half the memory traffic.
void multiply_panel(const uint16_t* panel, const float* x, int inputs, float* sums) {
  multiply_panel_avx2(panel, x, inputs, sums);
}

#else

void multiply_panel(const float* panel, const float* x, int inputs, float* sums) {
  multiply_panel_anywhere(panel, x, inputs, sums);
}
void multiply_panel(const uint16_t*, const float*, int, float*) {}

#endif

MELFLOW_CPU_CLONES
bool halve(const float* __restrict weights, size_t n, uint16_t* __restrict halves) {
  uint32_t inexact = 0;
  for (size_t i = 0; i < n; ++i) {
    halves[i] = files::half_from_float(weights[i]);
    inexact |= files::float_from_half(halves[i]) != weights[i] ? 1u : 0u;
  }
  return inexact == 0;
}

/// All of them, or none: the bits of each weight in half precision, where nothing is lost.
std::vector<uint16_t> exact_halves(std::span<const float> weights) {
  std::vector<uint16_t> halves(weights.size());
  return halve(weights.data(), weights.size(), halves.data()) ? halves : std::vector<uint16_t>();
}

}  // namespace

PackedLinear::PackedLinear(std::span<const float> weight, std::span<const float> bias, int inputs, int outputs)
    : inputs_(inputs), outputs_(outputs) {
  const int panels = (outputs + kPanel - 1) / kPanel;
  panels_.assign(static_cast<size_t>(panels) * static_cast<size_t>(inputs) * kPanel, 0.0f);
  bias_.assign(static_cast<size_t>(panels) * kPanel, 0.0f);
  std::copy(bias.begin(), bias.end(), bias_.begin());
  float* to = panels_.data();
  for (int first = 0; first < outputs; first += kPanel) {
    const int width = std::min(kPanel, outputs - first);
    for (int i = 0; i < inputs; ++i, to += kPanel) {
      for (int o = 0; o < width; ++o)
        to[o] = weight[static_cast<size_t>(first + o) * static_cast<size_t>(inputs) + static_cast<size_t>(i)];
    }
  }
  if (cpu::has_v3()) half_panels_ = exact_halves(panels_);
  if (!half_panels_.empty()) panels_ = {};
}

void PackedLinear::operator()(std::span<const float> x, std::span<float> y) const {
  float sums[kPanel];
  for (int first = 0; first < outputs_; first += kPanel) {
    const long panel = static_cast<long>(first) * inputs_;
    std::copy_n(bias_.begin() + first, kPanel, sums);
    if (half_panels_.empty()) {
      multiply_panel(panels_.data() + panel, x.data(), inputs_, sums);
    } else {
      multiply_panel(half_panels_.data() + panel, x.data(), inputs_, sums);
    }
    std::copy_n(sums, std::min(kPanel, outputs_ - first), y.begin() + first);
  }
}

}  // namespace melflow::engine
