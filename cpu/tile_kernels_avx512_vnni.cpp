#include "cpu/int8_fours.h"

namespace melflow::cpu {
extern const TileProduct kAvx512VnniProduct = make_product<Int8Fours<16>, 16, 6>(Precision::int8, pack_int8<16>);
}  // namespace melflow::cpu
