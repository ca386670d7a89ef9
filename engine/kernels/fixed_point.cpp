#include "engine/kernels/fixed_point.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/clones.h"

namespace melflow::engine {
namespace {

/// 2^-22 of the power of two that the largest magnitude reaches; at least 2^-122, so that its inverse is finite.
MELFLOW_CPU_CLONES
float step_of(const float* x, size_t n) {
  int32_t largest = 0;  // of the bits: those of magnitudes are in their order, what is not finite behind
  for (size_t i = 0; i < n; ++i) largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  constexpr int kNotFinite = 255, kLeast = 27;
  const int exponent = largest >> 23;
  if (exponent == kNotFinite) return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>((std::max(exponent, kLeast) - 22) << 23);
}

MELFLOW_CPU_CLONES
void split(const float* __restrict x, size_t n, float steps, uint8_t* __restrict low, uint8_t* __restrict middle,
           uint8_t* __restrict high) {
  constexpr float kMost = 0x1p23f - 1;  // what rounds to 2^23 itself would be none of 24 bits
  for (size_t i = 0; i < n; ++i) {
    const auto whole = static_cast<int32_t>(std::min(std::nearbyint(x[i] * steps), kMost)) + (1 << 23);
    low[i] = static_cast<uint8_t>(whole);
    middle[i] = static_cast<uint8_t>(whole >> 8);
    high[i] = static_cast<uint8_t>(whole >> 16);
  }
}

/// Four inputs [4, kMostOutputs] of an output side by side, [outputs, 4], for the first `outputs`; adds them up, too.
MELFLOW_CPU_CLONES
void interleave(const int8_t* __restrict from, int outputs, int8_t* __restrict to, int32_t* __restrict of_ones) {
  constexpr int kPanel = FixedPointProduct::kMostOutputs;
  for (int o = 0; o < outputs; ++o) {
    const int8_t a = from[o], b = from[kPanel + o], c = from[2 * kPanel + o], d = from[3 * kPanel + o];
    to[4 * o] = a;
    to[4 * o + 1] = b;
    to[4 * o + 2] = c;
    to[4 * o + 3] = d;
    of_ones[o] += a + b + c + d;
  }
}

}  // namespace

std::vector<int8_t> FixedPointProduct::packed(std::span<const int8_t> panels, int inputs,
                                              std::vector<int32_t>& of_ones) const {
  constexpr int kFour = FixedPoint::kFour, kPanel = kMostOutputs;
  const int fours = FixedPoint::fours_of(inputs);
  const size_t all = panels.size() / static_cast<size_t>(inputs);  // outputs
  std::vector<int8_t> interleaved(all * static_cast<size_t>(fours * kFour));
  of_ones.assign(all, 0);
  const int8_t* from = panels.data();
  for (size_t panel = 0; panel < all; panel += kPanel) {
    for (int i = 0; i < inputs; i += kFour) {
      const int here = std::min(kFour, inputs - i) * kPanel;
      int8_t four[kFour * kPanel] = {};  // zeros behind the last
      std::copy_n(from, here, four);
      from += here;
      for (int o = 0; o < kPanel; o += outputs) {
        const size_t run = panel + static_cast<size_t>(o);
        int8_t* to = interleaved.data() + run * static_cast<size_t>(fours * kFour) + i * outputs;
        interleave(four + o, outputs, to, of_ones.data() + run);
      }
    }
  }
  return interleaved;
}

void to_fixed_point(std::span<const float> x, FixedPoint& out) {
  out.step = step_of(x.data(), x.size());
  const int end = FixedPoint::kFour * FixedPoint::fours_of(static_cast<int>(x.size()));
  for (auto& bytes : out.bytes) std::fill(bytes + x.size(), bytes + end, uint8_t{0});
  if (std::isnan(out.step)) return;
  split(x.data(), x.size(), 1 / out.step, out.bytes[0], out.bytes[1], out.bytes[2]);
}

#if defined(__x86_64__)

extern const FixedPointProduct kAvxFixedPointProduct, kAvx512FixedPointProduct;

const FixedPointProduct* fixed_point_product(cpu::Level level) {
  return level == cpu::Level::v4_vnni   ? &kAvx512FixedPointProduct
         : level == cpu::Level::v3_vnni ? &kAvxFixedPointProduct
                                        : nullptr;
}

#else

const FixedPointProduct* fixed_point_product(cpu::Level) { return nullptr; }

#endif

}  // namespace melflow::engine
