// Any text as the JSON of a mel recipe or the YAML of a NeMo archive: read, or Error{bad_data}.
#include <cstdlib>

#include "base/error.h"
#include "engine/files/checkpoint_file.h"
#include "engine/files/mel_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  melflow::files::yaml_scalars(text);
  try {
    melflow::files::recipe_from_json(text, "input");
  } catch (const melflow::Error& error) {
    if (error.code() != melflow::Exit::bad_data) std::abort();
  }
  return 0;
}
