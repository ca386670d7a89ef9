#include "engine/kernels/tile_kernels_lanes.h"

namespace melflow::engine {
extern const TileKernels kAvx512TileKernels = make_tile_kernels<16, 6>("avx512");
}  // namespace melflow::engine
