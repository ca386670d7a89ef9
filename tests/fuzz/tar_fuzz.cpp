// Any bytes: parse_tar returns files inside the bytes or throws Error{bad_data}; anything else is a finding.
#include "engine/files/tar_reader.h"

#include <cstdlib>

#include "audio/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const auto& [name, content] : melflow::files::parse_tar(bytes, "input")) {
      const bool inside = content.data() >= bytes.data() && content.data() + content.size() <= bytes.data() + size;
      if (!inside) std::abort();
    }
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
