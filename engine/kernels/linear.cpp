#include "engine/kernels/linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "cpu/clones.h"
#include "cpu/levels.h"
#include "engine/files/float_formats.h"

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own AVX-512 headers (its bug 105593)
#endif
#endif

namespace melflow::engine {
namespace {

/// Outputs computed together: as many sums as AVX-512 has registers to spare beside two for a weight, and enough of
/// them that no sum waits for the one before.
constexpr int kPanel = 128;

template <typename Weight>
using Multiply = void (*)(const Weight* panel, const float* x, int inputs, float* sums);

/// sums[o] += Σ_i panel[i, o]·x[i], on any CPU. Sums run over i in order here and below.
template <typename Weight>
void multiply_anywhere(const Weight* panel, const float* x, int inputs, float* sums) {
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    for (int o = 0; o < kPanel; ++o) sums[o] += static_cast<float>(panel[o]) * x[i];
  }
}

#if defined(__x86_64__)

#define MELFLOW_V3 __attribute__((target("arch=x86-64-v3")))
#define MELFLOW_V4 __attribute__((target("arch=x86-64-v4")))

MELFLOW_V3 inline __m256 load_v3(const float* weights) { return _mm256_loadu_ps(weights); }
MELFLOW_V3 inline __m256 load_v3(const uint16_t* halves) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves)));
}
MELFLOW_V3 inline __m256 load_v3(const int8_t* bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
}
MELFLOW_V4 inline __m512 load_v4(const float* weights) { return _mm512_loadu_ps(weights); }
MELFLOW_V4 inline __m512 load_v4(const uint16_t* halves) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
}
MELFLOW_V4 inline __m512 load_v4(const int8_t* bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
}

template <typename Weight>
MELFLOW_V3 void multiply_v3(const Weight* panel, const float* x, int inputs, float* sums) {
  constexpr int kLanes = 8, kVectors = 8;
  for (int first = 0; first < kPanel; first += kLanes * kVectors) {
    __m256 acc[kVectors];
    for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_loadu_ps(sums + first + v * kLanes);
    const Weight* row = panel + first;
    for (int i = 0; i < inputs; ++i, row += kPanel) {
      const __m256 value = _mm256_set1_ps(x[i]);
      for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_fmadd_ps(load_v3(row + v * kLanes), value, acc[v]);
    }
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(sums + first + v * kLanes, acc[v]);
  }
}

template <typename Weight>
MELFLOW_V4 void multiply_v4(const Weight* panel, const float* x, int inputs, float* sums) {
  constexpr int kLanes = 16, kVectors = kPanel / kLanes;
  __m512 acc[kVectors];
  for (int v = 0; v < kVectors; ++v) acc[v] = _mm512_loadu_ps(sums + v * kLanes);
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    const __m512 value = _mm512_set1_ps(x[i]);
    for (int v = 0; v < kVectors; ++v) acc[v] = _mm512_fmadd_ps(load_v4(panel + v * kLanes), value, acc[v]);
  }
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(sums + v * kLanes, acc[v]);
}

template <typename Weight>
Multiply<Weight> multiply_of(cpu::Level level) {
  return level == cpu::Level::v4   ? multiply_v4<Weight>
         : level == cpu::Level::v3 ? multiply_v3<Weight>
                                   : multiply_anywhere<Weight>;
}

#else

template <typename Weight>
Multiply<Weight> multiply_of(cpu::Level) {
  return multiply_anywhere<Weight>;
}

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

/// The largest power of two of which all weights, `stride` apart, are whole multiples; 1 where all are zero.
float step_of(const float* weights, int count, int stride) {
  int exponent = 127;
  for (int i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<uint32_t>(weights[static_cast<long>(i) * stride]);
    const int size = static_cast<int>(bits >> 23 & 0xff);
    if (size == 0) continue;  // zero; what is smaller than a normal number fails the test below
    exponent = std::min(exponent, size - 150 + std::countr_zero((bits & 0x7fffff) | 0x800000));
  }
  return exponent == 127 ? 1.0f : std::ldexp(1.0f, exponent);
}

/// All of them, or none: panels of whole numbers of 8 bits, and the steps [panels·kPanel] that they count. No step is
/// below that of the smallest half, since a bias is counted in steps too, and must not become infinite.
std::vector<int8_t> exact_bytes(std::span<const float> panels, int inputs, std::vector<float>& steps) {
  std::vector<int8_t> bytes(panels.size());
  for (size_t output = 0; output < steps.size(); ++output) {
    const size_t first = output / kPanel * static_cast<size_t>(inputs) * kPanel + output % kPanel;
    const float step = step_of(panels.data() + first, inputs, kPanel);
    if (step < 0x1p-24f) return {};
    for (int i = 0; i < inputs; ++i) {
      const size_t at = first + static_cast<size_t>(i) * kPanel;
      const float times = panels[at] / step;
      if (!(std::abs(times) <= 127)) return {};
      bytes[at] = static_cast<int8_t>(times);
      if (static_cast<float>(bytes[at]) * step != panels[at]) return {};
    }
    steps[output] = step;
  }
  return bytes;
}

}  // namespace

PackedLinear::PackedLinear(std::span<const float> weight, std::span<const float> bias, int inputs, int outputs,
                           cpu::Level level)
    : inputs_(inputs), outputs_(outputs), level_(level) {
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
  steps_.assign(bias_.size(), 1.0f);
  if (level == cpu::Level::any) return;  // conversions without instructions for them would cost more than they save
  auto steps = steps_;
  byte_panels_ = exact_bytes(panels_, inputs, steps);
  if (!byte_panels_.empty()) {
    steps_ = std::move(steps);
    for (size_t o = 0; o < bias_.size(); ++o) bias_[o] /= steps_[o];
  } else {
    half_panels_ = exact_halves(panels_);
  }
  if (!byte_panels_.empty() || !half_panels_.empty()) panels_ = {};
}

void PackedLinear::operator()(std::span<const float> x, std::span<float> y) const {
  if (!byte_panels_.empty()) return multiply(byte_panels_.data(), x, y);
  if (!half_panels_.empty()) return multiply(half_panels_.data(), x, y);
  multiply(panels_.data(), x, y);
}

template <typename Weight>
void PackedLinear::multiply(const Weight* panels, std::span<const float> x, std::span<float> y) const {
  const auto multiply_panel = multiply_of<Weight>(level_);
  float sums[kPanel];
  for (int first = 0; first < outputs_; first += kPanel) {
    std::copy_n(bias_.begin() + first, kPanel, sums);
    multiply_panel(panels + static_cast<long>(first) * inputs_, x.data(), inputs_, sums);
    for (int o = 0; o < std::min(kPanel, outputs_ - first); ++o) y[first + o] = sums[o] * steps_[first + o];
  }
}

}  // namespace melflow::engine
