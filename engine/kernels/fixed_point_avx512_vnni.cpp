#include "engine/kernels/fixed_point_lanes.h"

namespace melflow::engine {
extern const FixedPointProduct kAvx512FixedPointProduct = make_fixed_point_product<16, 8>();
}  // namespace melflow::engine
