#include "engine/build_info.h"

namespace melflow::engine {

const char* version() { return MELFLOW_VERSION; }
const char* commit() { return MELFLOW_COMMIT; }

}  // namespace melflow::engine
