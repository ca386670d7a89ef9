#include "engine/kernels/tile_kernels.h"

#include <cmath>
#include <vector>

namespace melflow::engine {

extern const TileKernels kPortableTileKernels, kAvx2TileKernels, kPairedTileKernels, kAvx512TileKernels;

namespace {

constexpr int kPlainWidth = 8;

void plain_multiply(const float* const* rows, ptrdiff_t first, int count, const float* panel, int depth, float* sums) {
  for (int r = 0; r < count; ++r) {
    for (int c = 0; c < kPlainWidth; ++c) {
      double sum = 0;
      for (int k = 0; k < depth; ++k) sum += static_cast<double>(rows[r][first + k]) * panel[k * kPlainWidth + c];
      sums[r * kPlainWidth + c] = static_cast<float>(sums[r * kPlainWidth + c] + sum);
    }
  }
}

void plain_gate(const float* sums, int count, float* out, ptrdiff_t stride) {
  for (int r = 0; r < count; ++r, sums += kPlainWidth) {
    for (int c = 0; c < kPlainWidth / 2; ++c) {
      const double a = sums[c], b = sums[kPlainWidth / 2 + c];
      out[r * stride + c] = static_cast<float>(std::tanh(a) / (1 + std::exp(-b)));
    }
  }
}

void plain_peak(long rounds) {
  volatile float sum = 1;
  for (long n = 0; n < rounds; ++n) sum = sum * 0.999f + 0.001f;
}

std::vector<const TileKernels*> find_runnable() {
  std::vector<const TileKernels*> out;
#ifdef MELFLOW_X86_KERNELS
  if (__builtin_cpu_supports("x86-64-v4")) out.push_back(&kAvx512TileKernels);
  if (__builtin_cpu_supports("x86-64-v3")) {
    out.push_back(&kAvx2TileKernels);
    out.push_back(&kPairedTileKernels);
  }
#endif
  out.push_back(&kPortableTileKernels);
  return out;
}

}  // namespace

const TileKernels& plain_tile_kernels() {
  static constexpr TileKernels plain{"plain", kPlainWidth, 1, 1 << 20, plain_multiply, plain_gate, plain_peak, 2.0};
  return plain;
}

std::span<const TileKernels* const> runnable_tile_kernels() {
  static const std::vector<const TileKernels*> runnable = find_runnable();
  return runnable;
}

}  // namespace melflow::engine
