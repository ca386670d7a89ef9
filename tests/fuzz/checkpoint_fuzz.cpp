// Any bytes as a voice: every container, its tensors copied out, and the WaveGlow in it. Each step returns or throws
// Error{bad_data}; anything else is a finding.
#include "engine/files/checkpoint_file.h"

#include <cstdlib>

#include "base/error.h"
#include "engine/files/published_waveglow.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace melflow::files;
  try {
    const auto checkpoint = parse_checkpoint(std::as_bytes(std::span(data, size)), "input", Unknown::list);
    for (const auto& [name, tensor] : checkpoint.tensors) {
      Arrays made;
      in_c_order(tensor, made);
    }
    read_published_waveglow(checkpoint, "input");
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
