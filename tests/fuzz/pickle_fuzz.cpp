// Any bytes: parse_pickle returns or throws Error{bad_data}; anything else is a finding. Every name is allowed, so that
// the machine is reached with all of them; none of them is ever called.
#include "engine/files/pickle.h"

#include <cstdlib>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    melflow::files::parse_pickle(std::as_bytes(std::span(data, size)), "input", [](std::string_view) { return true; });
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
