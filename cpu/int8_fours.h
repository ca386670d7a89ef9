// For the sets of x86; included like tile_kernels_lanes.h: an unnamed namespace, no library function.
#pragma once

#include <immintrin.h>

#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
namespace {

#ifdef __AVXVNNI__
inline Lanes<8>::Integers add_fours(Lanes<8>::Integers sum, Lanes<8>::Integers a, Lanes<8>::Integers b) {
  return __builtin_bit_cast(Lanes<8>::Integers,
                            _mm256_dpbusd_avx_epi32(__builtin_bit_cast(__m256i, sum), __builtin_bit_cast(__m256i, a),
                                                    __builtin_bit_cast(__m256i, b)));
}
#endif
#ifdef __AVX512VNNI__
inline Lanes<16>::Integers add_fours(Lanes<16>::Integers sum, Lanes<16>::Integers a, Lanes<16>::Integers b) {
  return __builtin_bit_cast(Lanes<16>::Integers,
                            _mm512_dpbusd_epi32(__builtin_bit_cast(__m512i, sum), __builtin_bit_cast(__m512i, a),
                                                __builtin_bit_cast(__m512i, b)));
}
#endif

/// VPDPBUSD: four products of an unsigned and a signed byte a lane, added to an int32.
template <int kLanes>
struct Int8Fours : Int8Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Integers;
  static void add(Sum& sum, int32_t row, Sum panel) { sum = add_fours(sum, row - Sum{}, panel); }
  static void spin(Sum& sum) { sum = add_fours(sum, Sum{}, Sum{}); }
};

}  // namespace
}  // namespace melflow::cpu
