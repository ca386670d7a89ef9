// Any bytes: parse_idx returns or throws Error{bad_data}; anything else is a finding.
#include "engine/files/idx.h"

#include <cstdlib>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    melflow::files::parse_idx(std::as_bytes(std::span(data, size)), "input");
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
