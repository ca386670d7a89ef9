#include "cpu/int16_pairs.h"

namespace melflow::cpu {
extern const TileKernels kAvx2TileKernels = make_tile_kernels<8, 3, Int8InPairs>("avx2+fma");
// The 512-bit loops, as pairs of 256-bit vectors: slower, and there so that they can be tested where nothing else can.
extern const TileKernels kPairedTileKernels = make_tile_kernels<16, 1>("avx2+fma in pairs");
}  // namespace melflow::cpu
