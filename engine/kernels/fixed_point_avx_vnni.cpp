#include "engine/kernels/fixed_point_lanes.h"

namespace melflow::engine {
extern const FixedPointProduct kAvxFixedPointProduct = make_fixed_point_product<8, 4>();
}  // namespace melflow::engine
