// For the sets of x86; included like tile_kernels_lanes.h: an unnamed namespace, no library function.
#pragma once

#include <immintrin.h>

#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
namespace {

inline Lanes<8>::Integers multiply_pairs(Lanes<8>::Integers a, Lanes<8>::Integers b) {
  return __builtin_bit_cast(Lanes<8>::Integers,
                            _mm256_madd_epi16(__builtin_bit_cast(__m256i, a), __builtin_bit_cast(__m256i, b)));
}
#ifdef __AVX512BW__
inline Lanes<16>::Integers multiply_pairs(Lanes<16>::Integers a, Lanes<16>::Integers b) {
  return __builtin_bit_cast(Lanes<16>::Integers,
                            _mm512_madd_epi16(__builtin_bit_cast(__m512i, a), __builtin_bit_cast(__m512i, b)));
}
#endif

/// VPMADDWD: two products of 16 bits a lane, added up to an int32.
template <int kLanes>
struct Int16Pairs : Int16Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Integers;
  static void add(Sum& sum, int32_t row, Sum panel) { sum += multiply_pairs(row - Sum{}, panel); }
  static void spin(Sum& sum) { sum += multiply_pairs(sum, sum); }
};

template <int kLanes>
using Int8InPairs = WidenedToInt16<kLanes, Int16Pairs<kLanes>>;

}  // namespace
}  // namespace melflow::cpu
