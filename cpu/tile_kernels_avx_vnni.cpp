#include "cpu/int8_fours.h"

namespace melflow::cpu {
extern const TileProduct kAvxVnniProduct = make_product<Int8Fours<8>, 8, 3>(Precision::int8, pack_int8<8>);
}  // namespace melflow::cpu
