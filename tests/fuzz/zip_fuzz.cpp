// Any bytes: parse_zip and inflating what it found return or throw Error{bad_data}; anything else is a finding.
#include "engine/files/zip_reader.h"

#include <cstdlib>

#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    for (const auto& [name, member] : melflow::files::parse_zip(std::as_bytes(std::span(data, size)), "input")) {
      if (member.deflated) melflow::files::inflate_member(member, "input");
    }
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
