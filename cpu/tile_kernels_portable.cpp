#include "cpu/tile_kernels_lanes.h"

namespace melflow::cpu {
// 128-bit vectors: every x86-64 and ARM CPU has them.
extern const TileKernels kPortableTileKernels = make_tile_kernels<4, 3>("portable");
}  // namespace melflow::cpu
