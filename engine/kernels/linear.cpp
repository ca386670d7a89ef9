#include "engine/kernels/linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "cpu/clones.h"
#include "cpu/levels.h"
#include "engine/files/float_formats.h"
#include "engine/kernels/fixed_point.h"

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
static_assert(kPanel == FixedPointProduct::kMostOutputs);

/// Whether every CPU of this kind widens bytes by vectors, as ARM's 64-bit ones do. SSE2 has no instructions for it,
/// and nothing there for halves: conversions would cost more than they save.
#if defined(__aarch64__)
constexpr bool kWidensBytes = true;
#else
constexpr bool kWidensBytes = false;
#endif

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

/// Weights are read once, from end to end, and are more than the second-level cache holds: they are on their way so
/// many bytes before they are used, at the end of a panel those of the next. Processors that guess as much themselves
/// stop at a page's end, and too near.
constexpr ptrdiff_t kAhead = 4096;

/// The weights kAhead of `outputs` of them.
template <typename Weight>
inline void fetch(const Weight* weights, int outputs) {
  const auto* ahead = reinterpret_cast<const char*>(weights) + kAhead;
  for (ptrdiff_t i = 0; i < static_cast<ptrdiff_t>(sizeof(Weight)) * outputs; i += 64) __builtin_prefetch(ahead + i);
}

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

/// Sums for half a panel are what the registers hold: rows are taken by as many as the first-level cache keeps for the
/// other half.
template <typename Weight>
MELFLOW_V3 void multiply_v3(const Weight* panel, const float* x, int inputs, float* sums) {
  constexpr int kLanes = 8, kVectors = 8, kHalf = kLanes * kVectors, kRows = 32;
  static_assert(2 * kHalf == kPanel);
  for (int begin = 0; begin < inputs; begin += kRows, panel += kRows * kPanel) {
    const int rows = std::min(kRows, inputs - begin);
    for (int first = 0; first < kPanel; first += kHalf) {
      __m256 acc[kVectors];
      for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_loadu_ps(sums + first + v * kLanes);
      const Weight *row = panel + first, *fetched = panel + first * rows;
      for (int i = 0; i < rows; ++i, row += kPanel, fetched += kHalf) {
        fetch(fetched, kHalf);
        const __m256 value = _mm256_set1_ps(x[begin + i]);
        for (int v = 0; v < kVectors; ++v) acc[v] = _mm256_fmadd_ps(load_v3(row + v * kLanes), value, acc[v]);
      }
      for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(sums + first + v * kLanes, acc[v]);
    }
  }
}

template <typename Weight>
MELFLOW_V4 void multiply_v4(const Weight* panel, const float* x, int inputs, float* sums) {
  constexpr int kLanes = 16, kVectors = kPanel / kLanes;
  __m512 acc[kVectors];
  for (int v = 0; v < kVectors; ++v) acc[v] = _mm512_loadu_ps(sums + v * kLanes);
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    fetch(panel, kPanel);
    const __m512 value = _mm512_set1_ps(x[i]);
    for (int v = 0; v < kVectors; ++v) acc[v] = _mm512_fmadd_ps(load_v4(panel + v * kLanes), value, acc[v]);
  }
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(sums + v * kLanes, acc[v]);
}

template <typename Weight>
Multiply<Weight> multiply_of(cpu::Level level) {
  return level >= cpu::Level::v4   ? multiply_v4<Weight>
         : level >= cpu::Level::v3 ? multiply_v3<Weight>
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

/// For each output of a panel the largest power of two of which all its weights are whole multiples, which is that of
/// their lowest bit; 1 where all are zero.
MELFLOW_CPU_CLONES
void find_steps(const float* __restrict panel, int inputs, float* __restrict steps) {
  std::fill_n(steps, kPanel, std::numeric_limits<float>::infinity());
  for (int i = 0; i < inputs; ++i, panel += kPanel) {
    for (int o = 0; o < kPanel; ++o) {
      const auto bits = std::bit_cast<uint32_t>(panel[o]), size = bits & 0x7f800000;
      const uint32_t digits = (bits & 0x7fffff) | 0x800000, lowest = digits & -digits;
      const float step = static_cast<float>(static_cast<int32_t>(lowest)) * (std::bit_cast<float>(size) * 0x1p-23f);
      // Zero has none; what is smaller than a normal number is no multiple of what the others have.
      steps[o] = size != 0 && step < steps[o] ? step : steps[o];
    }
  }
  for (int o = 0; o < kPanel; ++o) steps[o] = std::isinf(steps[o]) ? 1.0f : steps[o];
}

/// The weights of a panel in steps; whether they are whole numbers of 8 bits.
MELFLOW_CPU_CLONES
bool count_steps(const float* __restrict panel, int inputs, const float* __restrict steps, int8_t* __restrict bytes) {
  uint32_t wrong = 0;
  float each[kPanel];  // of a weight of 1: powers of two too, so that nothing is rounded
  for (int o = 0; o < kPanel; ++o) each[o] = 1.0f / steps[o];
  for (int i = 0; i < inputs; ++i, panel += kPanel, bytes += kPanel) {
    for (int o = 0; o < kPanel; ++o) {
      const float times = panel[o] * each[o], size = std::abs(times) <= 127 ? times : 0.0f;
      const auto whole = static_cast<int32_t>(size);
      wrong |= static_cast<float>(whole) * steps[o] != panel[o] ? 1u : 0u;
      bytes[o] = static_cast<int8_t>(whole);
    }
  }
  return wrong == 0;
}

/// All of them, or none: panels of whole numbers of 8 bits, and the steps [panels·kPanel] that they count. No step is
/// below that of the smallest half, since a bias is counted in steps too, and must not become infinite.
std::vector<int8_t> exact_bytes(std::span<const float> panels, int inputs, std::vector<float>& steps) {
  std::vector<int8_t> bytes(panels.size());
  for (size_t output = 0; output < steps.size(); output += kPanel) {
    const size_t first = output * static_cast<size_t>(inputs);
    find_steps(panels.data() + first, inputs, steps.data() + output);
    if (*std::min_element(steps.begin() + output, steps.begin() + output + kPanel) < 0x1p-24f) return {};
    if (!count_steps(panels.data() + first, inputs, steps.data() + output, bytes.data() + first)) return {};
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
    // By a cache line of each output's weights.
    for (int begin = 0; begin < inputs; begin += 16) {
      const int count = std::min(16, inputs - begin);
      for (int o = 0; o < width; ++o) {
        const float* from = weight.data() + static_cast<ptrdiff_t>(first + o) * inputs + begin;
        for (int i = 0; i < count; ++i) to[i * kPanel + o] = from[i];
      }
      to += count * kPanel;
    }
  }
  steps_.assign(bias_.size(), 1.0f);
  if (level == cpu::Level::any && !kWidensBytes) return;
  auto steps = steps_;
  byte_panels_ = exact_bytes(panels_, inputs, steps);
  if (!byte_panels_.empty()) {
    steps_ = std::move(steps);
    for (size_t o = 0; o < bias_.size(); ++o) bias_[o] /= steps_[o];
    if (inputs <= FixedPoint::kMost) fixed_point_ = fixed_point_product(level);
    if (fixed_point_ != nullptr) byte_panels_ = fixed_point_->packed(byte_panels_, inputs, of_ones_);
  } else if (level != cpu::Level::any) {
    half_panels_ = exact_halves(panels_);
  }
  if (!byte_panels_.empty() || !half_panels_.empty()) panels_ = {};
}

void PackedLinear::operator()(std::span<const float> x, std::span<float> y) const {
  if (fixed_point_ != nullptr) return multiply_in_fixed_point(x, y);
  if (!byte_panels_.empty()) return multiply(byte_panels_.data(), x, y);
  if (!half_panels_.empty()) return multiply(half_panels_.data(), x, y);
  multiply(panels_.data(), x, y);
}

/// Calls add(first output of a panel, sums), sums beginning with the bias.
template <typename AddPanel>
void PackedLinear::each_panel(std::span<float> y, AddPanel&& add) const {
  float sums[kPanel];
  for (int first = 0; first < outputs_; first += kPanel) {
    std::copy_n(bias_.begin() + first, kPanel, sums);
    add(first, sums);
    const float* steps = steps_.data() + first;
    for (int o = 0; o < kPanel; ++o) sums[o] *= steps[o];
    std::copy_n(sums, std::min(kPanel, outputs_ - first), y.begin() + first);
  }
}

template <typename Weight>
void PackedLinear::multiply(const Weight* panels, std::span<const float> x, std::span<float> y) const {
  const auto multiply_panel = multiply_of<Weight>(level_);
  each_panel(y, [&](int first, float* sums) {
    multiply_panel(panels + static_cast<ptrdiff_t>(first) * inputs_, x.data(), inputs_, sums);
  });
}

void PackedLinear::multiply_in_fixed_point(std::span<const float> x, std::span<float> y) const {
  FixedPoint fixed;
  to_fixed_point(x, fixed);
  const int fours = FixedPoint::fours_of(inputs_), outputs = fixed_point_->outputs;
  each_panel(y, [&](int panel, float* sums) {
    for (int o = 0; o < kPanel; o += outputs) {
      const auto* run = byte_panels_.data() + static_cast<ptrdiff_t>(panel + o) * fours * FixedPoint::kFour;
      fixed_point_->multiply(run, of_ones_.data() + panel + o, fixed, fours, sums + o);
    }
  });
}

}  // namespace melflow::engine
