// VPDPBUSD on vectors of either length. Included like lanes.h: an unnamed namespace, no library function.
#pragma once

#include <immintrin.h>

#include "cpu/lanes.h"

namespace melflow::cpu {
namespace {

// sum + four products of an unsigned byte of a and a signed one of b in each lane.
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

}  // namespace
}  // namespace melflow::cpu
