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

}  // namespace

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
