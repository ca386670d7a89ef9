// Any bytes: gunzip returns no more than it may or throws Error{bad_data}; anything else is a finding.
#include <cstdlib>

#include "base/error.h"
#include "engine/files/inflate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMost = size_t{1} << 20;
  try {
    if (melflow::files::gunzip(std::as_bytes(std::span(data, size)), "input", kMost).size() > kMost) std::abort();
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
