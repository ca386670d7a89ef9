#include "cpu/int16_pairs.h"

namespace melflow::cpu {
extern const TileKernels kAvx512TileKernels = make_tile_kernels<16, 6, Int8InPairs>("avx512");
}  // namespace melflow::cpu
