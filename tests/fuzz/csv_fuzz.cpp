// Any text: parse_csv returns a table of finite numbers or throws Error{bad_data}; anything else is a finding.
#include "engine/files/csv.h"

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto table = melflow::files::parse_csv({reinterpret_cast<const char*>(data), size}, "input");
    if (table.values.size() != static_cast<size_t>(table.shape[0] * table.shape[1])) std::abort();
    for (const float v : table.values) {
      if (!std::isfinite(v)) std::abort();
    }
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
