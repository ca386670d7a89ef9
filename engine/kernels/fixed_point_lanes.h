// FixedPointProduct's loop, for vectors of any length. Included by one source file for each instruction set, and by
// nothing else: everything is in an unnamed namespace and uses no library function, so that no code compiled for a
// newer CPU can be linked into an older one's path.
#pragma once

#include "cpu/vnni.h"
#include "engine/kernels/fixed_point.h"

namespace melflow::engine {
namespace {

template <int kLanes>
typename cpu::Lanes<kLanes>::Integers four_of(const uint8_t* bytes, int four) {
  int32_t out;
  __builtin_memcpy(&out, bytes + FixedPoint::kFour * four, sizeof out);
  return out - typename cpu::Lanes<kLanes>::Integers{};
}

/// Three sums for each of kLanes·kVectors outputs, in registers.
template <int kLanes, int kVectors>
void multiply(const int8_t* weights, const int32_t* of_ones, const FixedPoint& x, int fours, float* sums) {
  using Integers = typename cpu::Lanes<kLanes>::Integers;
  using Floats = typename cpu::Lanes<kLanes>::Vector;
  Integers low[kVectors] = {}, middle[kVectors] = {}, high[kVectors] = {};
  for (int four = 0; four < fours; ++four) {
    const Integers x0 = four_of<kLanes>(x.bytes[0], four), x1 = four_of<kLanes>(x.bytes[1], four),
                   x2 = four_of<kLanes>(x.bytes[2], four);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v, weights += kLanes * FixedPoint::kFour) {
      Integers w;
      __builtin_memcpy(&w, weights, sizeof w);
      asm("" : "+v"(w));  // in a register: GCC would read it from memory three times
      low[v] = cpu::add_fours(low[v], x0, w);
      middle[v] = cpu::add_fours(middle[v], x1, w);
      high[v] = cpu::add_fours(high[v], x2, w);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    const auto floats = [](Integers whole) { return __builtin_convertvector(whole, Floats); };
    Integers ones;
    Floats sum;
    __builtin_memcpy(&ones, of_ones + v * kLanes, sizeof ones);
    __builtin_memcpy(&sum, sums + v * kLanes, sizeof sum);
    // 2^23 was added to each number: 2^7 steps of the highest byte.
    sum += x.step * (floats(high[v] - (ones << 7)) * 0x1p16f + floats(middle[v]) * 0x1p8f + floats(low[v]));
    __builtin_memcpy(sums + v * kLanes, &sum, sizeof sum);
  }
}

template <int kLanes, int kVectors>
constexpr FixedPointProduct make_fixed_point_product() {
  return {kLanes * kVectors, multiply<kLanes, kVectors>};
}

}  // namespace
}  // namespace melflow::engine
