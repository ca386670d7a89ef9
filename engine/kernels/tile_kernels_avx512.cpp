#include "engine/kernels/int16_pairs.h"

namespace melflow::engine {
extern const TileKernels kAvx512TileKernels = make_tile_kernels<16, 6, Int8InPairs>("avx512");
}  // namespace melflow::engine
