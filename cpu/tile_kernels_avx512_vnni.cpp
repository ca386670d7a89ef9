#include <immintrin.h>

#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
namespace {

/// VPDPBUSD: four products of an unsigned and a signed byte a lane, added to an int32.
template <int kLanes>
struct Int8Fours : Int8Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Integers;
  static void add(Sum& sum, int32_t row, typename Lanes<kLanes>::Integers panel) {
    sum = __builtin_bit_cast(Sum, _mm512_dpbusd_epi32(__builtin_bit_cast(__m512i, sum), _mm512_set1_epi32(row),
                                                      __builtin_bit_cast(__m512i, panel)));
  }
  static void spin(Sum& sum) {
    sum = __builtin_bit_cast(
        Sum, _mm512_dpbusd_epi32(__builtin_bit_cast(__m512i, sum), _mm512_setzero_si512(), _mm512_setzero_si512()));
  }
};

}  // namespace

extern const TileProduct kAvx512VnniProduct = make_product<Int8Fours<16>, 16, 6>(Precision::int8, pack_int8<16>);
}  // namespace melflow::cpu
