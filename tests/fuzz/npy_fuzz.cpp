// Any bytes: parse_npy returns or throws Error{bad_data}; anything else is a finding.
#include "engine/files/npy.h"

#include <cstdlib>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    melflow::files::parse_npy(bytes, "input");
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
