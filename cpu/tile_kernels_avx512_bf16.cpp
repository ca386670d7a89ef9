#include <immintrin.h>

#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
namespace {

/// VDPBF16PS: two products of bfloat16 a lane, added to a float32.
template <int kLanes>
struct Bf16Pairs : Bf16Words<kLanes> {
  using Sum = typename Lanes<kLanes>::Vector;
  static void add(Sum& sum, int32_t row, typename Lanes<kLanes>::Integers panel) {
    const __m512i x = _mm512_set1_epi32(row);
    sum = _mm512_dpbf16_ps(sum, __builtin_bit_cast(__m512bh, x), __builtin_bit_cast(__m512bh, panel));
  }
  static void spin(Sum& sum) {
    const __m512bh zeros{};
    sum = _mm512_dpbf16_ps(sum, zeros, zeros);
  }
};

}  // namespace

extern const TileProduct kAvx512Bf16Product = make_product<Bf16Pairs<16>, 16, 6>(Precision::bf16, pack_bf16);
}  // namespace melflow::cpu
