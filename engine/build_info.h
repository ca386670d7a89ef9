#pragma once

namespace melflow::engine {

/// The version of the program, and the commit it was configured at ("unknown" outside a checkout). A file of their
/// own, so that a new commit recompiles nothing else.
const char* version();
const char* commit();

}  // namespace melflow::engine
