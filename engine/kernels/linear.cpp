#include "engine/kernels/linear.h"

#include <algorithm>

#include "audio/cpu_clones.h"

namespace melflow::engine {
namespace {

/// Outputs computed together: eight AVX2 registers of sums, or four of AVX-512.
constexpr int kPanel = 64;

/// sums[o] += Σ_i panel[i, o]·x[i]. Sums run over i in order, so every instruction set without fused multiply-add
/// gives the same digits, and those with it differ in the last.
MELFLOW_CPU_CLONES
void multiply_panel(const float* __restrict panel, const float* __restrict x, int inputs, float* __restrict sums) {
  float acc[kPanel];
  for (int o = 0; o < kPanel; ++o) acc[o] = sums[o];
  for (int i = 0; i < inputs; ++i) {
    const float v = x[i];
    const float* row = panel + static_cast<long>(i) * kPanel;
    for (int o = 0; o < kPanel; ++o) acc[o] += row[o] * v;
  }
  for (int o = 0; o < kPanel; ++o) sums[o] = acc[o];
}

}  // namespace

PackedLinear::PackedLinear(std::span<const float> weight, std::span<const float> bias, int inputs, int outputs)
    : inputs_(inputs), outputs_(outputs) {
  const int panels = (outputs + kPanel - 1) / kPanel;
  panels_.assign(static_cast<size_t>(panels) * static_cast<size_t>(inputs) * kPanel, 0.0f);
  bias_.assign(static_cast<size_t>(panels) * kPanel, 0.0f);
  std::copy(bias.begin(), bias.end(), bias_.begin());
  for (int o = 0; o < outputs; ++o) {
    float* panel = panels_.data() + static_cast<long>(o / kPanel) * inputs * kPanel + o % kPanel;
    for (int i = 0; i < inputs; ++i)
      panel[static_cast<long>(i) * kPanel] =
          weight[static_cast<size_t>(o) * static_cast<size_t>(inputs) + static_cast<size_t>(i)];
  }
}

void PackedLinear::operator()(std::span<const float> x, std::span<float> y) const {
  float sums[kPanel];
  for (int first = 0; first < outputs_; first += kPanel) {
    std::copy_n(bias_.begin() + first, kPanel, sums);
    multiply_panel(panels_.data() + static_cast<long>(first) * inputs_, x.data(), inputs_, sums);
    std::copy_n(sums, std::min(kPanel, outputs_ - first), y.begin() + first);
  }
}

}  // namespace melflow::engine
