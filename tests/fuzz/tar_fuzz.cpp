// Any bytes: parse_tar and list_shard return parts of the bytes or throw Error{bad_data}; anything else is a finding.
#include "engine/files/tar_reader.h"

#include <cstdlib>

#include "base/error.h"
#include "engine/files/shard.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const auto& [name, content] : melflow::files::parse_tar(bytes, "input")) {
      const bool inside = content.data() >= bytes.data() && content.data() + content.size() <= bytes.data() + size;
      if (!inside) std::abort();
    }
    for (const auto& sample : melflow::files::list_shard(bytes, "input").samples) {
      for (const auto& part : {sample.sound, sample.mel}) {
        if (part.offset > size || part.size > size - part.offset) std::abort();
      }
    }
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
